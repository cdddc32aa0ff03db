"""polyhead: one shared Transformer encoder with many task heads.

    model = polyhead.load("runs/quickstart")
    model.ner("Ada Lovelace was born in London.").entities
    run = polyhead.train("recipes/quickstart.toml", on_event=print)
"""

from ._answers import Answer, Candidate, Candidates, Edge, Edges, End, Label, Labels, Number, Span, Spans, Tree, Word
from ._errors import (
    CannotWriteError,
    DataError,
    InternalError,
    MissingInputError,
    PolyheadError,
    UnavailableError,
    UsageError,
)
from ._model import Model, Task, load
from ._polyhead import __version__
from ._training import Event, Run, evaluate, train

__all__ = [
    "Answer",
    "Candidate",
    "Candidates",
    "CannotWriteError",
    "DataError",
    "Edge",
    "Edges",
    "End",
    "Event",
    "InternalError",
    "Label",
    "Labels",
    "MissingInputError",
    "Model",
    "Number",
    "PolyheadError",
    "Run",
    "Span",
    "Spans",
    "Task",
    "Tree",
    "UnavailableError",
    "UsageError",
    "Word",
    "__version__",
    "evaluate",
    "load",
    "train",
]
