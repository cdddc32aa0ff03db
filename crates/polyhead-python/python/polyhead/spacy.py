"""A component of spaCy that sets ``doc.ents`` from a task of a model.

    nlp = spacy.blank("en")
    nlp.add_pipe("polyhead", config={"model": "runs/quickstart", "task": "ner"})

Without ``task`` it is the model's only one that answers with spans. spaCy finds the component by the entry point
``spacy_factories``; this package does not need spaCy. The tokens of spaCy are kept: a span that does not begin and end with
tokens is widened to the tokens that it touches (``alignment="expand"``), narrowed to those it holds (``"contract"``) or left
out (``"strict"``). Of spans that then overlap, in a document or with entities that are there already, the first set and the
longest stay, as ``doc.ents`` takes no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Optional

from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import filter_spans

from ._answers import Spans
from ._errors import UsageError
from ._model import load

ALIGNMENTS = ("expand", "contract", "strict")


class Entities:
    """The component: the model, and how its spans become spaCy's."""

    def __init__(self, name: str, model: str, task: Optional[str], alignment: str, precision: str) -> None:
        if alignment not in ALIGNMENTS:
            raise UsageError(f"alignment: expected {', '.join(ALIGNMENTS)}, found {alignment!r}")
        self.name, self.alignment = name, alignment
        loaded = load(model, precision=precision)
        of_spans = [one for one in loaded.tasks.values() if one.shape == "spans"]
        if task is None and len(of_spans) == 1:
            task = of_spans[0].name
        if task is None:
            raise UsageError(f"task: expected a name, found none, and {len(of_spans)} tasks whose answers are spans")
        self.task = loaded.task(task)
        if self.task.shape != "spans":
            raise UsageError(f"task: expected one whose answers are spans, found `{task}`, whose answers are {self.task.shape}")

    def __call__(self, doc: Doc) -> Doc:
        return next(iter(self.pipe([doc])))

    def pipe(self, stream: Iterable[Doc], batch_size: int = 64) -> Iterator[Doc]:
        """Many documents: those of a batch go through the model together."""
        stream = iter(stream)
        while docs := list(islice(stream, batch_size)):
            for doc, answer in zip(docs, self.task.predict([doc.text for doc in docs])):
                assert isinstance(answer, Spans)
                self.set_entities(doc, answer)
                yield doc

    def set_entities(self, doc: Doc, answer: Spans) -> None:
        """Spans of characters as entities of tokens."""
        found = (
            doc.char_span(span.start, span.end, label=span.type, alignment_mode=self.alignment) for span in answer.entities
        )
        taken = {token.i for span in doc.ents for token in span}
        new = [span for span in found if span is not None and not any(token.i in taken for token in span)]
        doc.ents = [*doc.ents, *filter_spans(new)]


@Language.factory("polyhead", assigns=["doc.ents"], default_config={"task": None, "alignment": "expand", "precision": "auto"})
def create(nlp: Language, name: str, model: str, task: Optional[str], alignment: str, precision: str) -> Any:
    """Makes the component."""
    return Entities(name, model, task, alignment, precision)
