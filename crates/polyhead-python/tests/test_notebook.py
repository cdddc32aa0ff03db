"""Answers as a notebook shows them: every text escaped, no scripts, and nothing that only one ground can carry."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

from conftest import QUESTIONS, TEXTS

import polyhead
from polyhead._answers import answer_of

HOSTILE = "<script>alert('Ada')</script> & \"Bob\""


class Elements(HTMLParser):
    """The elements of a page and its text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def html(answer: Any) -> Elements:
    return Elements(answer._repr_html_())


def spans(text: str, *places: tuple[int, int, str]) -> polyhead.Answer:
    entities = [{"type": kind, "text": text[a:b], "start": a, "end": b, "score": 0.5} for a, b, kind in places]
    return answer_of("spans", {"text": text, "entities": entities})


def test_entities_are_marked_in_their_text() -> None:
    page = html(spans("Ada left London.", (0, 3, "PER"), (9, 15, "LOC")))
    assert page.text == "AdaPER left LondonLOC."
    marks = [attributes for tag, attributes in page.elements if tag == "mark"]
    assert [mark["title"] for mark in marks] == ["PER 0.50", "LOC 0.50"]
    assert marks[0]["style"] != marks[1]["style"], "each type has its colour"
    overlapping = html(spans("Ada left", (0, 8, "EVENT"), (0, 3, "PER")))
    assert overlapping.text == "Ada leftEVENT"
    assert html(spans("nothing")).text == "nothing"


def test_what_comes_from_outside_is_text_and_nothing_else() -> None:
    page = html(spans(HOSTILE, (0, 8, HOSTILE), (30, 33, "PER")))
    assert {tag for tag, _ in page.elements} == {"div", "mark", "span"}
    assert all(not name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert page.text.replace(HOSTILE, "", 1).startswith("<script>") is True
    for shape, fields in SHAPES.items():
        assert "script" not in {tag for tag, _ in html(answer_of(shape, fields)).elements}
        assert HOSTILE in html(answer_of(shape, fields)).text


SHAPES: dict[str, dict[str, Any]] = {
    "candidates": {"answer": HOSTILE, "start": 0, "end": 9, "score": 0.5, "alternatives": []},
    "labels": {"label": HOSTILE, "score": 0.5, "labels": [{"label": HOSTILE, "score": 0.5, "chosen": True}]},
    "edges": {
        "text": HOSTILE,
        "edges": [
            {
                "type": "is",
                "from": {"text": HOSTILE, "start": 0, "end": 9},
                "to": {"text": "x", "start": 0, "end": 1},
                "score": 0.5,
            }
        ],
    },
    "tree": {"text": "x", "words": [{"text": HOSTILE, "start": 0, "end": 9, "head": 0, "label": "root", "score": 0.5}]},
}


def test_colours_do_on_light_and_dark_ground() -> None:
    page = spans("Ada left London.", (0, 3, "PER"))._repr_html_()  # type: ignore[attr-defined]
    grounds = re.findall(r"background:([^;\"]+)", page)
    assert grounds and all(re.search(r"/ \.\d+\)$", ground) for ground in grounds), "translucent"
    assert set(re.findall(r"[;\"]color:([^;\"]+)", page)) == {"inherit"}, "text has the colour of the page"


def test_every_shape_has_a_short_repr(model: polyhead.Model) -> None:
    assert repr(spans("Ada left London.", (0, 3, "PER"), (9, 15, "LOC"))) == "Ada [PER], London [LOC]"
    assert repr(spans("nothing")) == "no entity"
    number = answer_of("number", {"value": 2.5})
    assert isinstance(number, polyhead.Number) and repr(number) == "2.5" and float(number) == 2.5
    assert repr(answer_of("edges", SHAPES["edges"])) == f"{HOSTILE} -is-> x"
    assert repr(answer_of("tree", SHAPES["tree"])) == f"{HOSTILE} <-root- ROOT"
    assert repr(answer_of("labels", SHAPES["labels"])) == f"{HOSTILE} (0.50) *"
    assert answer_of("labels", SHAPES["labels"]).chosen == [HOSTILE]  # type: ignore[attr-defined]
    edge = answer_of("edges", SHAPES["edges"]).edges[0]  # type: ignore[attr-defined]
    assert isinstance(edge, polyhead.Edge) and edge.from_.start == 0 and edge["from"] is edge.from_
    for answer in (model.ner(TEXTS[0]), model.qa(*QUESTIONS[0]), model.sentiment(TEXTS[0])):
        assert "\n" not in repr(answer) and repr(answer) == str(answer)
        assert html(answer).text
