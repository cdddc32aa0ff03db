"""Whatever is wrong raises an exception that names the place, what was expected, what was found and the way out."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, recipe

import polyhead


def raised(call: Any) -> polyhead.PolyheadError:
    with pytest.raises(polyhead.PolyheadError) as caught:
        call()
    return caught.value


def test_a_missing_model_is_a_file_that_is_not_found(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "nowhere"
    error = raised(lambda: polyhead.load(folder))
    assert isinstance(error, polyhead.MissingInputError) and isinstance(error, FileNotFoundError)
    assert error.kind == "missing_input" and error.place is not None and "nowhere" in error.place
    done = command("predict", folder, "--task", "ner", "Ada")
    assert done.returncode == 66
    assert str(error) == done.stderr.strip().removeprefix("error: ")


def test_text_and_parts_are_those_of_the_command(command: Command, model: polyhead.Model, run: polyhead.Run) -> None:
    error = raised(lambda: model.predict("nre", ["Ada"]))
    assert isinstance(error, polyhead.UsageError) and isinstance(error, ValueError)
    assert (error.expected, error.found) == ("one of this model's tasks (ner, qa, sentiment)", "`nre`")
    assert str(error) == command("predict", run.model, "--task", "nre", "Ada").stderr.strip().removeprefix("error: ")


@pytest.mark.parametrize(
    ("inputs", "place", "words"),
    [
        (["Ada", {"txt": "Ada"}], "inputs[1]", '{"text": "..."}'),
        ([{"text": 3}], "inputs[0]", "3"),
        (["Ada", {"text": "Ada", "offset_unit": "miles"}], "inputs[1]", "miles"),
        (["\ud800"], "inputs[0]", "not valid JSON"),
    ],
)
def test_a_malformed_request_is_named(model: polyhead.Model, inputs: list[Any], place: str, words: str) -> None:
    error = raised(lambda: model.predict("ner", inputs))
    assert isinstance(error, polyhead.DataError) and error.kind == "data"
    of_logits = raised(lambda: model.logits("ner", inputs))
    assert (of_logits.place, of_logits.kind) == (error.place, error.kind)
    assert error.place == place and str(error).startswith(f"{place}: ") and words in str(error)


def test_what_python_can_tell_is_told_before(model: polyhead.Model) -> None:
    for call in (lambda: model.predict("ner", "Ada"), lambda: model.embed("Ada"), lambda: model.predict("ner", [3])):
        with pytest.raises(TypeError, match="expected"):
            call()  # type: ignore[no-untyped-call]
    with pytest.raises(TypeError, match="object"):
        model.predict("ner", [{"text": object()}])
    with pytest.raises(polyhead.UsageError, match="at most 1 texts"):
        model.ner("Ada", "left")
    with pytest.raises(AttributeError, match="no task 'relations'; it has ner, qa, sentiment"):
        model.relations("Ada")
    for options in ({"precision": "f16"}, {"threads": 0}):
        with pytest.raises(polyhead.UsageError, match=next(iter(options))):
            polyhead.load("anywhere", **options)  # type: ignore[arg-type]


def test_a_mistake_in_a_recipe_is_named(tmp_path: Path) -> None:
    error = raised(lambda: polyhead.train({**recipe(tmp_path), "seeed": 1}))
    assert error.kind == "usage" and "seeed" in str(error) and error.place is not None and error.place.startswith("recipe")
    error = raised(lambda: polyhead.train(recipe(tmp_path), overrides={"train.epochs": "many"}))
    assert "train.epochs" in str(error) and "many" in str(error)
    error = raised(lambda: polyhead.train({**recipe(tmp_path), "seed": None}))
    assert "None" in (error.hint or "")
    assert raised(lambda: polyhead.train()).kind == "usage"
    assert raised(lambda: polyhead.train(recipe(tmp_path), resume=tmp_path)).kind == "usage"
    assert raised(lambda: polyhead.train(tmp_path / "no.toml")).kind == "missing_input"
    with pytest.raises(TypeError, match="TOML"):
        polyhead.train({"seed": object()})


@pytest.mark.parametrize("kind", ["usage", "data", "missing_input", "unavailable", "internal", "cannot_write"])
def test_an_exception_is_kept_by_copies_and_pickles(kind: str) -> None:
    from polyhead._errors import exception

    error = exception(kind, "a: expected b, found c", "a", "b", "c", "try d")
    assert type(error).kind == kind and str(error) == "a: expected b, found c\nhint: try d"
    for kept in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(kept) is type(error) and str(kept) == str(error)
        assert (kept.place, kept.expected, kept.found, kept.hint) == ("a", "b", "c", "try d")
    assert str(exception(kind, "e", None, None, None, None)) == "e"
