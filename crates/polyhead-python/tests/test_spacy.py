"""The component of spaCy, in a real spaCy."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import TEXTS

import polyhead

spacy = pytest.importorskip("spacy")


def pipeline(run: polyhead.Run, **config: Any) -> Any:
    nlp = spacy.blank("en")
    nlp.add_pipe("polyhead", config={"model": run.model, "task": "ner", "precision": "f32", **config})
    return nlp


def test_entities_are_those_of_the_model(run: polyhead.Run, model: polyhead.Model) -> None:
    nlp = pipeline(run, alignment="strict")
    found = 0
    for text in TEXTS[:4]:
        doc = nlp(text)
        expected = {(one["start"], one["end"], one["type"]) for one in model.ner(text)["entities"]}
        entities = {(one.start_char, one.end_char, one.label_) for one in doc.ents}
        aligned = {one for one in expected if doc.char_span(one[0], one[1]) is not None}
        assert entities == aligned
        found += len(entities)
    assert found > 0
    assert nlp.get_pipe("polyhead").task.name == pipeline(run, task=None).get_pipe("polyhead").task.name
    assert [[str(e) for e in doc.ents] for doc in nlp.pipe(TEXTS[:4])] == [[str(e) for e in nlp(text).ents] for text in TEXTS[:4]]


def component(alignment: str, *spans: tuple[int, int, str]) -> Any:
    """The component with answers of our own."""
    from polyhead._answers import answer_of
    from polyhead.spacy import Entities

    made = Entities.__new__(Entities)
    made.alignment = alignment
    answer = lambda doc: answer_of(  # noqa: E731
        "spans",
        {
            "text": doc.text,
            "entities": [
                {"type": kind, "text": doc.text[a:b], "start": a, "end": b, "score": 0.5} for a, b, kind in spans
            ],
        },
    )
    return lambda doc: made.set_entities(doc, answer(doc))


@pytest.mark.parametrize(
    ("alignment", "expected"), [("expand", ["New York"]), ("contract", ["York"]), ("strict", [])]
)
def test_what_does_not_align_is_handled_as_documented(alignment: str, expected: list[str]) -> None:
    doc = spacy.blank("en")("in New York now")
    component(alignment, (5, 11, "LOC"))(doc)
    assert [entity.text for entity in doc.ents] == expected


def test_overlaps_leave_the_longest_and_what_was_there() -> None:
    doc = spacy.blank("en")("the University of New York City")
    component("expand", (4, 31, "ORG"), (18, 26, "LOC"))(doc)
    assert [(entity.text, entity.label_) for entity in doc.ents] == [("University of New York City", "ORG")]
    component("expand", (0, 14, "ORG"), (18, 26, "LOC"))(doc)
    assert [(entity.text, entity.label_) for entity in doc.ents] == [("University of New York City", "ORG")]


def test_a_wrong_configuration_is_refused(run: polyhead.Run) -> None:
    with pytest.raises(polyhead.UsageError, match="answers are spans, found `qa`"):
        pipeline(run, task="qa")
    with pytest.raises(polyhead.UsageError, match="alignment: expected expand, contract, strict, found 'near'"):
        pipeline(run, alignment="near")


def test_the_package_does_not_import_spacy() -> None:
    import subprocess
    import sys

    code = "import sys, polyhead; sys.exit('spacy' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
