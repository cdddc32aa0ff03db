"""A loaded model: text in, answers out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Optional, Union

from ._answers import Answer, Fields, Labels, answer_of
from ._errors import UsageError
from ._polyhead import Session

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Path = Union[str, "os.PathLike[str]"]
#: A request: a text; the fields of the task in order, or the words of a text; or an object as ``polyhead predict --input``
#: reads it.
Request = Union[str, Sequence[str], Mapping[str, Any]]


def load(model: Path, *, precision: str = "auto", threads: Optional[int] = None) -> Model:
    """Loads a model folder, or the best model of a run folder.

    ``precision`` is what matrix products are computed in: ``auto`` (what the model was quantised to, else bf16 where the
    processor multiplies it faster, else f32), ``f32``, ``bf16`` or ``int8``. ``threads`` gives the model threads of its own;
    left out, all models share those of the process: ``RAYON_NUM_THREADS``, or one for each processor. Answers are the same with
    any number.
    """
    return Model(model, precision=precision, threads=threads)


class Task:
    """A task of a model: call it with one text, or with the fields of its requests in order or by name."""

    def __init__(self, session: Session, facts: Mapping[str, Any]) -> None:
        self._session = session
        #: Its name in the model.
        self.name: str = facts["name"]
        #: What a recipe calls its kind.
        self.kind: str = facts["kind"]
        #: What it does, in a few words.
        self.about: str = facts["about"]
        #: The shape of its answers: ``spans``, ``candidates``, ``labels``, ``number``, ``edges`` or ``tree``.
        self.shape: str = facts["shape"]
        #: Its labels, in the order of its logits.
        self.labels: list[str] = facts["labels"]
        #: The fields of its requests, in order.
        self.fields: list[str] = [field["name"] for field in facts["fields"]]
        #: The longest window it makes, in tokens; longer texts become several.
        self.max_length: int = facts["max_length"]
        self.__doc__ = f"{self.about}.\n\n" + "\n".join(f"{one['name']}: {one['about']}" for one in facts["fields"])

    def __call__(self, *texts: Request, **fields: Any) -> Answer:
        """Answers one request."""
        if len(texts) > len(self.fields):
            expected, found = len(self.fields), len(texts)
            raise UsageError(
                f"{self.name}: expected at most {expected} texts ({', '.join(self.fields)}), found {found}",
                expected=f"at most {expected} texts ({', '.join(self.fields)})",
                found=str(found),
                hint=f"model.predict({self.name!r}, [...]) answers a list",
            )
        request = self._request(texts[0]) if len(texts) == 1 else dict(zip(self.fields, texts))
        return self.predict([{**request, **fields}])[0]

    def predict(self, inputs: Iterable[Request]) -> list[Answer]:
        """Answers requests in order: texts that fit share a pass through the model."""
        answers = self._session.predict(self.name, self._requests(inputs))
        return [answer_of(self.shape, json.loads(answer)) for answer in answers]

    def logits(self, inputs: Iterable[Request]) -> list[npt.NDArray[np.float32]]:
        """The logits of each request, ``[rows, outputs]``: see :meth:`Model.logits`."""
        return [_array(*one) for one in self._session.logits(self.name, self._requests(inputs))]

    def probabilities(self, inputs: Iterable[Request]) -> npt.NDArray[np.float32]:
        """The probability of each label for each request, ``[requests, labels]``: see :meth:`Model.probabilities`."""
        numpy = _numpy()
        order = {label: at for at, label in enumerate(self.labels)}
        answers = self.predict(inputs)
        table: npt.NDArray[np.float32] = numpy.zeros((len(answers), len(order)), numpy.float32)
        for row, answer in zip(table, answers):
            if not isinstance(answer, Labels):
                raise UsageError(
                    f"{self.name}: expected a task that gives a text labels, found one whose answers are {self.shape}",
                    expected="a task that gives a text labels",
                    found=f"one whose answers are {self.shape}",
                    hint="logits(...) has the numbers of any task",
                )
            for label in answer.labels:
                row[order[label.label]] = label.score
        return table

    def __repr__(self) -> str:
        labels = f", labels={self.labels}" if self.labels else ""
        return f"<Task {self.name}: kind={self.kind}, shape={self.shape}, fields={self.fields}{labels}>"

    def _requests(self, inputs: Iterable[Request]) -> list[str]:
        if isinstance(inputs, (str, Mapping)):
            raise TypeError(f"expected a list of requests, found one: model.{self.name}(...) answers one")
        return [json.dumps(self._request(one), default=_plain) for one in inputs]

    def _request(self, one: Request) -> dict[str, Any]:
        if isinstance(one, str):
            return {self._field_of_a_text(): one}
        if isinstance(one, Mapping):
            return dict(one)
        if not isinstance(one, Iterable):
            raise TypeError(f"expected a text, a list of texts or a dict, found {type(one).__name__}")
        # Of a task of several fields its fields, of one that reads a text its words.
        texts = list(one)
        return dict(zip(self.fields, texts)) if len(self.fields) > 1 else {"words": texts}

    def _field_of_a_text(self) -> str:
        return "text" if "text" in self.fields else self.fields[0]


class Model:
    """A loaded model.

    It answers with each of its tasks: ``model.ner("...")``, or ``model.predict("ner", [...])`` for many texts. A task whose
    name is no attribute (``my-task``, ``predict``) is ``model.tasks[name]``.

    It may be used from several threads at a time: while it computes, Python goes on.
    """

    def __init__(self, model: Path, *, precision: str = "auto", threads: Optional[int] = None) -> None:
        self._session = Session.open(model, precision, threads)
        self._folder, self._options = os.fspath(model), (precision, threads)
        facts = json.loads(self._session.tasks())
        #: The tasks by name, in the order of the recipe.
        self.tasks: dict[str, Task] = {one["name"]: Task(self._session, one) for one in facts}

    @property
    def precision(self) -> str:
        """What its matrix products are computed in: ``f32``, ``bf16`` or ``int8``."""
        return self._session.precision

    def task(self, name: str) -> Task:
        """The task of this name, or the only one of this kind."""
        of_kind = [task for task in self.tasks.values() if task.kind == name]
        task = self.tasks.get(name) or (of_kind[0] if len(of_kind) == 1 else None)
        if task is None:
            expected = f"one of this model's tasks ({', '.join(self.tasks)})"
            raise UsageError(f"expected {expected}, found `{name}`", expected=expected, found=f"`{name}`")
        return task

    def predict(self, task: str, inputs: Iterable[Request]) -> list[Answer]:
        """Answers requests in order.

        An input is a text (any sequence of ``str`` will do: a list, an array of NumPy, a column of pandas); for a task of
        several fields a tuple of them, ``(question, context)``; for a task that reads words a list of these; or a dict, as
        ``polyhead predict --input`` and the HTTP API read it, ``{"text": ..., "offset_unit": "utf16"}``. A malformed one
        raises, and names its place: ``inputs[3]``.
        """
        return self.task(task).predict(inputs)

    def logits(self, task: str, inputs: Iterable[Request]) -> list[npt.NDArray[np.float32]]:
        """What the head of the task makes of each input: a float32 array ``[rows, outputs]``.

        A row is what the head reads: a token (special ones included), a text, a word, a pair. Of a long text the rows of its
        windows follow each other.
        """
        return self.task(task).logits(inputs)

    def probabilities(self, task: str, inputs: Iterable[Request]) -> npt.NDArray[np.float32]:
        """The probability of each label for each input: a float32 array ``[inputs, labels]``.

        The order of the labels is that of ``tasks[task].labels``.
        """
        return self.task(task).probabilities(inputs)

    def embed(self, texts: Iterable[str], *, max_length: int = 512, normalize: bool = False) -> npt.NDArray[np.float32]:
        """The mean of the encoder's last hidden states over the tokens of each text: a float32 array ``[texts, hidden]``.

        As sentence-transformers' mean pooling, special tokens included; a text of more tokens than ``max_length`` is read in
        parts, and the mean is over all of them. ``normalize`` makes the length of each row 1. The encoder is the one that was
        trained for the model's tasks.
        """
        if isinstance(texts, str):
            raise TypeError("expected a list of texts, found one text")
        rows = _array(*self._session.embed(list(texts), max_length))
        if normalize:
            numpy = _numpy()
            rows /= numpy.maximum(numpy.linalg.norm(rows, axis=1, keepdims=True), numpy.float32(1e-12))
        return rows

    def evaluate(
        self,
        task: str,
        data: Union[Path, Sequence[Path]],
        *,
        limit: Optional[int] = None,
        columns: Optional[Mapping[str, Union[int, str]]] = None,
        encoding: str = "utf-8",
        tag_names: Sequence[str] = (),
        label_names: Sequence[str] = (),
        label_separator: Optional[str] = None,
        interval: bool = False,
    ) -> Fields:
        """All scores of a task on files with gold answers: the fields of ``polyhead eval --json``.

        ``data`` is a file, a folder, a pattern, ``hf://datasets/OWNER/NAME/PATH``, or several. The options are those of a
        recipe's data. With ``interval`` the field ``intervals`` says how far each score may be off, since other examples might
        have been drawn: the middle 95 % of 1,000 bootstrap samples.
        """
        files = [data] if isinstance(data, (str, os.PathLike)) else list(data)
        options = {
            "limit": limit,
            "columns": None if columns is None else dict(columns),
            "encoding": encoding,
            "tag_names": list(tag_names),
            "label_names": list(label_names),
            "label_separator": label_separator,
            "interval": interval,
        }
        name = self.task(task).name
        found = self._session.evaluate(name, [os.fspath(file) for file in files], json.dumps(options))
        return Fields({"model": self._folder, **json.loads(found)})

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process loads it again.
        return _again, (self._folder, *self._options)

    def __getattr__(self, name: str) -> Task:
        task = self.__dict__.get("tasks", {}).get(name)
        if task is None:
            names = ", ".join(self.__dict__.get("tasks", {}))
            raise AttributeError(f"this model has no task {name!r}; it has {names}")
        return task  # type: ignore[no-any-return]

    def __dir__(self) -> Iterator[str]:
        yield from super().__dir__()
        yield from self.tasks

    def __repr__(self) -> str:
        tasks = ", ".join(f"{task.name} ({task.kind})" for task in self.tasks.values())
        return f"<Model {self._folder}: {tasks}; {self.precision}>"


def _again(model: str, precision: str, threads: Optional[int]) -> Model:
    return load(model, precision=precision, threads=threads)


def _plain(value: object) -> object:
    """What JSON has no word for and arrays hold: their numbers."""
    item = getattr(value, "item", None)
    if item is None:
        raise TypeError(f"expected text, numbers, lists and dicts in a request, found {type(value).__name__}")
    return item()


def _numpy() -> Any:
    try:
        import numpy
    except ImportError as error:
        raise ImportError("arrays need NumPy: pip install numpy") from error
    return numpy


def _array(numbers: bytearray, rows: int, columns: int) -> npt.NDArray[np.float32]:
    numpy = _numpy()
    array: npt.NDArray[np.float32] = numpy.frombuffer(numbers, numpy.float32).reshape(rows, columns)
    return array
