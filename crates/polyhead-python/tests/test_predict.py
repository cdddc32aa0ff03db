"""Answers are those of the command, to the digit, however they are asked for."""

from __future__ import annotations

import copy
import json
import os
import pickle
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import QUESTIONS, ROOT, TEXTS, Command

import polyhead

INPUTS: dict[str, tuple[list[Any], list[dict[str, Any]]]] = {
    "ner": (TEXTS, [{"text": text} for text in TEXTS]),
    "qa": (QUESTIONS, [{"question": question, "context": context} for question, context in QUESTIONS]),
    "sentiment": (TEXTS, [{"text": text} for text in TEXTS]),
}


@pytest.mark.parametrize("task", INPUTS)
@pytest.mark.parametrize("program", ["the wheel's command", "the binary"])
def test_answers_are_those_of_the_command_to_the_digit(
    model: polyhead.Model, run: polyhead.Run, command: Command, task: str, program: str, tmp_path: Path
) -> None:
    inputs, requests = INPUTS[task]
    file = tmp_path / "requests.jsonl"
    file.write_text("".join(json.dumps(request) + "\n" for request in requests))
    arguments = ["predict", run.folder, "--task", task, "--precision", "f32", "--input", file]
    if program == "the binary":
        binary = ROOT / "target/release/polyhead"
        if not binary.exists():
            pytest.skip(f"{binary} is not built")
        import subprocess

        done = subprocess.run([str(binary), *map(str, arguments)], capture_output=True, text=True, encoding="utf-8")
    else:
        done = command(*arguments)
    assert done.returncode == 0, done.stderr
    expected = [json.loads(line) for line in done.stdout.splitlines()]
    answers = model.predict(task, inputs)
    assert answers == expected
    assert [json.dumps(answer) for answer in answers] == [json.dumps(answer) for answer in expected]
    assert model.predict(task, requests) == expected


def test_one_text_is_asked_by_the_name_of_the_task(model: polyhead.Model) -> None:
    assert model.ner(TEXTS[2]) == model.predict("ner", TEXTS[2:3])[0] == model.ner(text=TEXTS[2]) == model.ner({"text": TEXTS[2]})
    question, context = QUESTIONS[0]
    answer = model.qa(question, context)
    assert answer == model.qa(question=question, context=context) == model.tasks["qa"]((question, context))
    words = model.ner(["Ada", "Lovelace", "left"])
    assert words == model.ner(words=["Ada", "Lovelace", "left"]) == model.predict("ner", [("Ada", "Lovelace", "left")])[0]
    assert isinstance(words, polyhead.Spans) and words.text == "Ada Lovelace left"
    assert model.predict("ner", [{"id": 7, "text": "Ada"}])[0]["id"] == 7
    assert model.task("classify") is model.tasks["sentiment"]
    assert model.predict("ner", []) == []


def test_offsets_count_characters_of_python(model: polyhead.Model) -> None:
    text = TEXTS[2]
    spans = [answer for answer in model.predict("ner", [text, text * 3]) if isinstance(answer, polyhead.Spans)]
    entities = [(answer.text, entity) for answer in spans for entity in answer.entities]
    assert any(entity.start > text.index("M") for _, entity in entities), "some lie behind what is no single unit elsewhere"
    for whole, entity in entities:
        assert whole[entity.start : entity.end] == entity.text
    in_bytes = model.ner(text=text, offset_unit="byte")
    for entity in in_bytes["entities"]:
        assert text.encode()[entity["start"] : entity["end"]].decode() == entity["text"]
    for question, context in QUESTIONS:
        answer = model.qa(question, context)
        assert isinstance(answer, polyhead.Candidates)
        for candidate in [answer, *answer.alternatives]:
            assert context[candidate["start"] : candidate["end"]] == candidate["answer"]


def test_answers_behave_as_dictionaries_and_have_attributes(model: polyhead.Model) -> None:
    answer = model.sentiment(TEXTS[0])
    assert isinstance(answer, polyhead.Labels)
    assert answer.label == answer["label"] == answer.labels[0].label == answer.chosen[0]
    assert answer.score == answer.labels[0].score and answer.labels[0].chosen is None
    assert {"label", "score", "labels"} <= set(dir(answer))
    with pytest.raises(AttributeError, match="entities"):
        answer.entities  # type: ignore[attr-defined]
    for kept in (copy.deepcopy(answer), pickle.loads(pickle.dumps(answer)), json.loads(json.dumps(answer))):
        assert kept == answer
    assert type(pickle.loads(pickle.dumps(answer)).labels[0]) is polyhead.Label


def test_a_model_says_what_it_can_do(model: polyhead.Model, run: polyhead.Run) -> None:
    assert list(model.tasks) == ["ner", "qa", "sentiment"]
    ner = model.tasks["ner"]
    assert (ner.kind, ner.shape, ner.fields, ner.max_length) == ("ner", "spans", ["text"], 64)
    assert ner.labels[0] == "O" and "B-PER" in ner.labels
    assert model.tasks["qa"].fields == ["question", "context"]
    assert model.precision == "f32" and polyhead.load(run.model).precision in ("f32", "bf16")
    assert polyhead.load(run.model, precision="int8").precision == "int8"
    assert {"ner", "qa", "sentiment", "predict"} <= set(dir(model))
    assert "ner (ner), qa (qa), sentiment (classify)" in repr(model) and "labels=['O'" in repr(ner)
    assert "text" in (ner.__doc__ or "")


def test_answers_are_the_same_with_any_number_of_threads(model: polyhead.Model, run: polyhead.Run) -> None:
    for threads in (1, 3):
        other = polyhead.load(run.model, precision="f32", threads=threads)
        for task, (inputs, _) in INPUTS.items():
            assert other.predict(task, inputs) == model.predict(task, inputs)


def test_other_threads_run_while_a_model_computes(model: polyhead.Model) -> None:
    """The lock of the interpreter is released: with it held the counter would stand still."""
    ticks, done = [0], threading.Event()

    def count() -> None:
        while not done.is_set():
            ticks[0] += 1
            time.sleep(0.001)

    counter = threading.Thread(target=count)
    counter.start()
    try:
        texts, began, before = [TEXTS[4]] * 400, time.perf_counter(), ticks[0]
        model.predict("ner", texts)
        seconds, during = time.perf_counter() - began, ticks[0] - before
    finally:
        done.set()
        counter.join()
    assert seconds > 0.1, "the work takes long enough to see"
    assert during > 0.1 * seconds / 0.001, f"{during} ticks in {seconds} s"


def test_a_model_answers_several_threads_at_a_time(model: polyhead.Model) -> None:
    expected = model.predict("ner", TEXTS)
    found: list[Any] = [None] * 6

    def ask(at: int) -> None:
        found[at] = [model.predict("ner", TEXTS) for _ in range(3)]

    threads = [threading.Thread(target=ask, args=(at,)) for at in range(len(found))]
    [thread.start() for thread in threads]  # type: ignore[func-returns-value]
    [thread.join() for thread in threads]  # type: ignore[func-returns-value]
    assert found == [[expected] * 3] * len(found)


def test_a_pickled_model_is_loaded_again(model: polyhead.Model) -> None:
    again = pickle.loads(pickle.dumps(model))
    assert again.precision == "f32" and again.predict("ner", TEXTS) == model.predict("ner", TEXTS)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_is_told_that_its_threads_are_gone(model: polyhead.Model) -> None:
    """It would wait for them for ever."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            model.ner("Ada")
        except polyhead.UsageError as error:
            code = 0 if "spawn" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_scores_are_those_of_the_command(model: polyhead.Model, run: polyhead.Run, command: Command) -> None:
    file = ROOT / "samples/ner/validation.conll"
    found = model.evaluate("ner", file, limit=5)
    arguments = ["--task", "ner", "--data", file, "--limit", 5, "--precision", "f32", "--json"]
    expected = json.loads(command("eval", run.model, *arguments).stdout)
    assert found == expected and found["examples"] == 5
    assert polyhead.evaluate(model, "ner", [file], limit=5)["score"] == expected["score"]
    columns = model.evaluate("ner", file, limit=5, columns={"word": 1, "tag": 2})
    assert columns["score"] == expected["score"]
