"""Exceptions: the kinds of errors that the library has, each also the exception of Python's own that is nearest."""

from __future__ import annotations

from typing import ClassVar, Optional


class PolyheadError(Exception):
    """What went wrong, where, and the way out.

    ``str(error)`` is what the command prints: place and message, and the hint on a line of its own.
    """

    #: ``usage``, ``data``, ``missing_input``, ``unavailable``, ``internal`` or ``cannot_write``.
    kind: ClassVar[str] = ""
    #: The file, line, field or tensor, if there is one.
    place: Optional[str]
    #: What was expected, where the message says that and what was found.
    expected: Optional[str]
    #: What was found instead.
    found: Optional[str]
    #: The way out, if one is known.
    hint: Optional[str]

    def __init__(
        self,
        message: str,
        place: Optional[str] = None,
        expected: Optional[str] = None,
        found: Optional[str] = None,
        hint: Optional[str] = None,
    ) -> None:
        # All of them, so that copies and pickles (worker processes) keep them.
        super().__init__(message, place, expected, found, hint)
        self.place, self.expected, self.found, self.hint = place, expected, found, hint

    def __str__(self) -> str:
        message = str(self.args[0])
        return message if self.hint is None else f"{message}\nhint: {self.hint}"


class UsageError(PolyheadError, ValueError):
    """A wrong call: an unknown key or task, a value out of range."""

    kind = "usage"


class DataError(PolyheadError, ValueError):
    """Malformed input: a request, a data file, a recipe's data, a model folder."""

    kind = "data"


class MissingInputError(PolyheadError, FileNotFoundError):
    """An input that is not there."""

    kind = "missing_input"

    # OSError reads two and more arguments as an error number and its text.
    def __new__(cls, *parts: Optional[str]) -> MissingInputError:
        return super().__new__(cls, *parts[:1])

    __str__ = PolyheadError.__str__


class UnavailableError(PolyheadError, ConnectionError):
    """A service that is needed and can't be reached."""

    kind = "unavailable"


class InternalError(PolyheadError, RuntimeError):
    """A fault of polyhead or of the machine."""

    kind = "internal"


class CannotWriteError(PolyheadError, OSError):
    """An output that can't be written."""

    kind = "cannot_write"


_KINDS: tuple[type[PolyheadError], ...] = (
    UsageError,
    DataError,
    MissingInputError,
    UnavailableError,
    InternalError,
    CannotWriteError,
)


def exception(
    kind: str, message: str, place: Optional[str], expected: Optional[str], found: Optional[str], hint: Optional[str]
) -> PolyheadError:
    """The exception for an error of the library; the extension module calls it."""
    of_kind = {one.kind: one for one in _KINDS}
    return of_kind.get(kind, PolyheadError)(message, place, expected, found, hint)
