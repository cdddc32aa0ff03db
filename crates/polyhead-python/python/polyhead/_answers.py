"""Answers: dictionaries with the fields of ``polyhead predict --json`` and of the HTTP API, whose fields are attributes too.

They are dictionaries because that is what they are everywhere else: ``json.dumps(answer)``,
``pandas.DataFrame(answer.entities)`` and a comparison with what a server said work as they are. The attributes are for people
and for type checkers: ``answer.entities[0].text``. Offsets count characters as Python does (code points), so that
``text[span.start:span.end] == span.text``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, Optional, TypeVar, Union, overload

from ._html import entities_html, rows_html, tree_html

T = TypeVar("T")


class _Field(Generic[T]):
    """A field of a dictionary as an attribute."""

    def __init__(self, about: str, key: Optional[str] = None) -> None:
        self.__doc__ = about
        self.key = key

    def __set_name__(self, owner: type, name: str) -> None:
        self.key = self.key or name

    @overload
    def __get__(self, answer: None, owner: type) -> _Field[T]: ...
    @overload
    def __get__(self, answer: dict[str, Any], owner: type) -> T: ...
    def __get__(self, answer: Optional[dict[str, Any]], owner: type) -> Union[_Field[T], T]:
        if answer is None:
            return self
        try:
            value: T = answer[self.key or ""]
        except KeyError as error:
            raise AttributeError(f"this answer has no {self.key!r}") from error
        return value


class Fields(dict[str, Any]):
    """A dictionary whose fields are attributes too."""

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(key for key in self if key.isidentifier())})


class Span(Fields):
    """A labelled part of a text."""

    type = _Field[str]("Its type.")
    text = _Field[str]("The part of the text between ``start`` and ``end``.")
    start = _Field[int]("Where it starts in the text.")
    end = _Field[int]("Where it ends.")
    score = _Field[float]("How probable it is.")

    def __repr__(self) -> str:
        return f"{self.text} [{self.type}]"


class Candidate(Fields):
    """An answer to a question."""

    answer = _Field[str]("The part of the text between ``start`` and ``end``; empty if the text does not answer.")
    start = _Field[int]("Where it starts in the text.")
    end = _Field[int]("Where it ends.")
    score = _Field[float]("Its share among the best answers.")

    def __repr__(self) -> str:
        return f"{self.answer or '(no answer)'} ({self.score:.2f})"


class Label(Fields):
    """A label of a text."""

    label = _Field[str]("The label.")
    score = _Field[float]("Its probability.")

    @property
    def chosen(self) -> Optional[bool]:
        """Whether it holds; None where one label is chosen of all, the most probable."""
        chosen: Optional[bool] = self.get("chosen")
        return chosen

    def __repr__(self) -> str:
        mark = {True: " *", False: "", None: ""}[self.chosen]
        return f"{self.label} ({self.score:.2f}){mark}"


class End(Fields):
    """One end of a relation."""

    text = _Field[str]("The part of the text between ``start`` and ``end``.")
    start = _Field[int]("Where it starts in the text.")
    end = _Field[int]("Where it ends.")

    def __repr__(self) -> str:
        return self.text


class Edge(Fields):
    """A relation from one part of a text to another."""

    type = _Field[str]("Its type.")
    from_ = _Field[End]("Where it begins (the field ``from``, which Python keeps for itself).", key="from")
    to = _Field[End]("Where it leads.")
    score = _Field[float]("How probable it is.")

    def __repr__(self) -> str:
        return f"{self.from_.text} -{self.type}-> {self.to.text}"


class Word(Fields):
    """A word of a tree."""

    text = _Field[str]("The word.")
    start = _Field[int]("Where it starts in the text.")
    end = _Field[int]("Where it ends.")
    head = _Field[int]("The number of its head, counted from 1; 0 for the root.")
    label = _Field[str]("Its relation to the head.")
    score = _Field[float]("How probable head and relation are.")


class Answer(Fields):
    """An answer: of one of the classes below, by the shape of its task's answers."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Which fields it has is known when its task is; after ``isinstance(answer, polyhead.Spans)`` their types are."""

    def __str__(self) -> str:
        return repr(self)


class Spans(Answer):
    """The labelled parts of a text."""

    text = _Field[str]("The text.")
    entities = _Field["list[Span]"]("In the order of the text.")

    def __repr__(self) -> str:
        return ", ".join(map(repr, self.entities)) or "no entity"

    def _repr_html_(self) -> str:
        return entities_html(self.text, self.entities)


class Candidates(Answer):
    """The part of a text that answers best, and the next best ones."""

    answer = _Field[str]("The part of the text between ``start`` and ``end``; empty if the text does not answer.")
    start = _Field[int]("Where it starts in the text.")
    end = _Field[int]("Where it ends.")
    score = _Field[float]("Its share among the best answers.")
    alternatives = _Field["list[Candidate]"]("The next best, at most two.")

    def __repr__(self) -> str:
        return f"{self.answer or '(no answer)'} ({self.score:.2f})"

    def _repr_html_(self) -> str:
        rows = [self, *self.alternatives]
        cells = [(one["answer"] or "(no answer)", f"{one['start']}..{one['end']}", one["score"]) for one in rows]
        return rows_html(("answer", "characters", "score"), cells)


class Labels(Answer):
    """The labels of a whole text."""

    label = _Field[str]("The most probable label.")
    score = _Field[float]("Its probability.")
    labels = _Field["list[Label]"]("All labels, the most probable first.")

    @property
    def chosen(self) -> list[str]:
        """The labels that hold: all that reach their threshold, or the most probable where one is chosen of all."""
        several = [label for label in self.labels if label.chosen is not None]
        return [label.label for label in several if label.chosen] if several else [self.label]

    def __repr__(self) -> str:
        return ", ".join(map(repr, self.labels)) or "no label"

    def _repr_html_(self) -> str:
        chosen = set(self.chosen)
        cells = [(one.label, "yes" if one.label in chosen else "", one.score) for one in self.labels]
        return rows_html(("label", "holds", "score"), cells)


class Number(Answer):
    """A number for a whole text."""

    value = _Field[float]("The number, in the units of the training data.")

    def __repr__(self) -> str:
        return f"{self.value:.4g}"

    def __float__(self) -> float:
        return self.value


class Edges(Answer):
    """Relations between parts of a text."""

    text = _Field[str]("The text.")
    edges = _Field["list[Edge]"]("The relations that were found.")

    def __repr__(self) -> str:
        return ", ".join(map(repr, self.edges)) or "no relation"

    def _repr_html_(self) -> str:
        cells = [(edge.from_.text, edge.type, edge.to.text, edge.score) for edge in self.edges]
        return rows_html(("from", "relation", "to", "score"), cells)


class Tree(Answer):
    """A dependency tree over the words of a text."""

    text = _Field[str]("The text.")
    words = _Field["list[Word]"]("In the order of the text.")

    def head(self, word: Word) -> Optional[Word]:
        """The head of a word; None for the root."""
        return self.words[word.head - 1] if word.head > 0 else None

    def __repr__(self) -> str:
        heads = ((word, self.head(word)) for word in self.words)
        return ", ".join(f"{word.text} <-{word.label}- {head.text if head else 'ROOT'}" for word, head in heads)

    def _repr_html_(self) -> str:
        return tree_html(self.words)


#: What stands in the fields of an answer: the class of each, by the class that has the field.
_PARTS: dict[type[Fields], dict[str, type[Fields]]] = {
    Spans: {"entities": Span},
    Candidates: {"alternatives": Candidate},
    Labels: {"labels": Label},
    Edges: {"edges": Edge},
    Edge: {"from": End, "to": End},
    Tree: {"words": Word},
}

_SHAPES: dict[str, type[Answer]] = {
    "spans": Spans,
    "candidates": Candidates,
    "labels": Labels,
    "number": Number,
    "edges": Edges,
    "tree": Tree,
}


def _made(kind: type[Fields], fields: Mapping[str, Any]) -> Any:
    parts = _PARTS.get(kind, {})

    def part(key: str, value: Any) -> Any:
        if key not in parts:
            return value
        return [_made(parts[key], one) for one in value] if isinstance(value, list) else _made(parts[key], value)

    return kind({key: part(key, value) for key, value in fields.items()})


def answer_of(shape: str, fields: Mapping[str, Any]) -> Answer:
    """An answer of the class of its shape."""
    answer: Answer = _made(_SHAPES.get(shape, Answer), fields)
    return answer
