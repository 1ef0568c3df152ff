"""Tracebacks for the log, without texts that may quote what a caller sent.

Python's own errors about values quote them (`ValueError`, `KeyError`), and libraries' errors may. Their classes and the
lines of code are logged, and their messages only at debug level.
"""

import traceback
from collections.abc import Iterator

from tuningfork.domain.errors import Code, TuningforkError

LEFT_OUT = "(its message may quote a request; log level debug shows it)"

_SAFE = (
    *(OSError, MemoryError, ImportError, AttributeError, TypeError, NameError, AssertionError, ArithmeticError),
    *(RuntimeError, EOFError),
)
"""Classes whose messages speak of the machine or the program."""

_SAFE_PACKAGES = ("sqlalchemy", "sqlite3", "psycopg", "safetensors", "torch", "grpc", "asyncio")
"""Packages whose errors do the same; the database's are told without the values of a statement."""

_SAFE_CODES = (Code.INTERNAL, Code.UNKNOWN, Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.DEADLINE_EXCEEDED)

_MOST_CHARACTERS = 1_000
_MOST_ERRORS = 10


def in_words(error: BaseException, *, shows_all: bool = False) -> str:
    """The class of an error, and its message if that quotes no request, or if `shows_all`."""
    name = type(error).__qualname__
    if not (shows_all or _is_safe(error)):
        return f"{name} {LEFT_OUT}"
    said = str(error)[:_MOST_CHARACTERS]
    # The lines after the first of a database's error are its statement, and the row that it refuses.
    said = said if shows_all else said.partition("\n")[0] if _package(error) in _SAFE_PACKAGES else said
    return f"{name}: {said}" if said else name


def traceback_of(error: BaseException, *, shows_all: bool = False) -> str:
    """The traceback of an error and of those that led to it, the first one first."""
    return "\n".join(_lines(error, shows_all, _MOST_ERRORS))


def _lines(error: BaseException, shows_all: bool, most: int) -> Iterator[str]:
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and most:
        yield from _lines(before, shows_all, most - 1)
        yield "The above exception led to this one:"
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):"
        yield "".join(traceback.format_tb(error.__traceback__)).rstrip("\n")
    yield in_words(error, shows_all=shows_all)
    if isinstance(error, BaseExceptionGroup) and most:
        for each in error.exceptions[:most]:
            yield from _lines(each, shows_all, most - 1)


def _is_safe(error: BaseException) -> bool:
    if isinstance(error, TuningforkError):
        return error.code in _SAFE_CODES
    return isinstance(error, _SAFE) or _package(error) in _SAFE_PACKAGES


def _package(error: BaseException) -> str:
    return type(error).__module__.partition(".")[0]
