"""Training: a recipe in, a run folder out."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional, Union

from . import _polyhead
from ._answers import Fields
from ._model import Model, Path, load

_log = logging.getLogger("polyhead")


class Event(Fields):
    """Something that happened in a run: a line of its ``metrics.jsonl``, without the time; ``event`` says what."""


class Run(Fields):
    """A finished run: the fields of its event ``finished``, and the model."""

    @property
    def folder(self) -> str:
        """The run folder."""
        return str(self["folder"])

    @property
    def model(self) -> str:
        """The folder of the best model."""
        return str(self["model"])

    @property
    def scores(self) -> dict[str, dict[str, Any]]:
        """The scores of the best model on the validation data, by task: ``headline``, ``values``, ``types``."""
        scores: dict[str, dict[str, Any]] = self["scores"]
        return scores

    def load(self, *, precision: str = "auto", threads: Optional[int] = None) -> Model:
        """Loads the best model."""
        return load(self.model, precision=precision, threads=threads)

    def __repr__(self) -> str:
        scores = (f"{task} {score['headline']} {score['values'][score['headline']]:.2f}" for task, score in self.scores.items())
        return f"<Run {self.folder}: {', '.join(scores) or 'no scores'}>"


def train(
    recipe: Union[Path, Mapping[str, Any], None] = None,
    *,
    overrides: Optional[Mapping[str, Any]] = None,
    resume: Optional[Path] = None,
    on_event: Optional[Callable[[Event], object]] = None,
    threads: Optional[int] = None,
) -> Run:
    """Trains one encoder with a head for each task of a recipe, as ``polyhead train`` does, bit for bit.

    ``recipe`` is a file, or a dict with the same keys; ``overrides`` sets dotted keys, ``{"train.epochs": 1}``. ``resume`` goes
    on with a run folder from its newest checkpoint. ``on_event`` gets each event as it happens, and training goes on when it
    returns; an exception that it raises stops the run and is raised. Notes go to the logger ``polyhead``.

    Ctrl-C stops after the step under way, saves a checkpoint and raises KeyboardInterrupt: ``train(resume=folder)`` goes on,
    bit-identical. A second one raises at once, and leaves the run to save by itself.
    """
    file, text = (None, json.dumps(recipe, default=_plain)) if isinstance(recipe, Mapping) else (recipe, None)
    finished = _polyhead.train(
        file,
        text,
        json.dumps(dict(overrides or {}), default=_plain),
        resume,
        threads,
        lambda event: None if on_event is None else on_event(Event(json.loads(event))),
        _log.info,
    )
    if finished is None:
        raise RuntimeError("the run stopped before its end, and nothing says why")
    return Run(json.loads(finished))


def evaluate(model: Union[Model, Path], task: str, data: Union[Path, Sequence[Path]], **options: Any) -> Fields:
    """All scores of a task of a model on files with gold answers: see :meth:`Model.evaluate`."""
    return (model if isinstance(model, Model) else load(model)).evaluate(task, data, **options)


def _plain(value: object) -> object:
    """Paths as text, and the numbers of arrays."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    item = getattr(value, "item", None)
    if item is None:
        raise TypeError(f"expected what TOML has (text, numbers, truth, lists, tables), found {type(value).__name__}")
    return item()
