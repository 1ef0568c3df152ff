"""A renderer: a process that reads what describes one base model, and renders conversations for it, within limits.

Chat templates are programs that come with a base, and its other files are foreign too. What they do to time and memory
they do in this process, which the system ends at its limits (`setrlimit`).
"""

import io
import math
import os
import pickle
import resource
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tuningfork.domain.base_model import BaseModel
from tuningfork.domain.errors import BaseUnusable, FieldViolation, InternalError, Reason, TuningforkError
from tuningfork.execution.local.process_names import RENDERER, name_this_process
from tuningfork.modeling.chat_template import ChatFormat, RenderedRow
from tuningfork.modeling.describing import describe

MOST_ANSWER_BYTES = 2**28
"""The most bytes of an answer. A token takes some five of them."""


@dataclass(frozen=True, slots=True)
class Open:
    """To a renderer, once: read this base within these limits. It answers with an `Opened`."""

    base: BaseModel
    cpu_seconds: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Opened:
    """From a renderer: the base can be used; what a `Chat` says of it."""

    end_of_turn_ids: frozenset[int]
    lead: str
    next_turn_labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """To a renderer: call this method of the base's chat format. It answers with a `Returned`."""

    method: str
    argument: Any
    cpu_seconds: int


@dataclass(frozen=True, slots=True)
class Returned:
    """From a renderer: what the method returned."""

    value: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """From a renderer, instead of another answer: the base cannot be used, or the method raised this."""

    error: TuningforkError


def serve(pipe: Connection) -> None:
    """Open the base, then answer calls until the pipe is closed."""
    name_this_process(RENDERER)
    with suppress(EOFError, OSError):
        opening: Open = pipe.recv()
        _limit_memory(opening.memory_bytes)
        _limit_time(opening.cpu_seconds)
        try:
            chat = describe(opening.base)
        except Exception as error:  # noqa: BLE001 - foreign files can raise anything
            pipe.send(Raised(_unusable(opening.base, error)))
            return
        pipe.send(Opened(chat.end_of_turn_ids, chat.lead, chat.next_turn_labels))
        while True:
            call: Call = pipe.recv()
            _limit_time(call.cpu_seconds)
            try:
                answered = answer(opening.base, chat, call)
            except MemoryError:
                # What is lacking may be lacking for good; the next text has a new process.
                os._exit(1)
            pipe.send(answered)


def answer(base: BaseModel, chat: ChatFormat, call: Call) -> Returned | Raised:
    """Call a method of the base's chat format.

    Of an unexpected error only the class is told, since its message may quote the text, and is logged by the server.

    Raises:
        MemoryError: the process may take no more memory.

    """
    try:
        return Returned(getattr(chat, call.method)(call.argument))
    except Exception as error:
        if _is_out_of_memory(error):
            raise MemoryError from error
        if isinstance(error, TuningforkError):
            return Raised(error)
        return Raised(InternalError(f"{base.name} could not render this: {type(error).__name__}"))


def read_answer(data: bytes) -> object:
    """An `Opened`, `Returned` or `Raised`, as a renderer has sent it.

    Raises:
        pickle.UnpicklingError: it holds something else.

    """
    try:
        return _Reader(io.BytesIO(data)).load()
    except (pickle.UnpicklingError, MemoryError):
        raise
    except Exception as error:  # as the documentation of `pickle` says, anything
        raise pickle.UnpicklingError(str(error)) from error


class _Reader(pickle.Unpickler):
    """Makes only what answers consist of, since a renderer that a bad file has taken over might send anything."""

    def find_class(self, module: str, name: str) -> Any:
        found = getattr(sys.modules.get(module), name, None) if module.startswith("tuningfork.") else None
        is_error = isinstance(found, type) and issubclass(found, TuningforkError)
        if is_error or (module, name) in _PARTS:
            return found
        raise pickle.UnpicklingError(f"{module}.{name} is no part of an answer")


_PARTS = {
    *((each.__module__, each.__name__) for each in (Opened, Returned, Raised, RenderedRow, FieldViolation, Reason)),
    # What makes the errors, see `TuningforkError.__reduce__`.
    (TuningforkError.__module__, "_rebuild"),
}


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Whether this error is a `MemoryError`, or was raised because of one."""
    while error is not None and not isinstance(error, MemoryError):
        error = error.__cause__
    return error is not None


def _limit_memory(further_bytes: int) -> None:
    """Let the process take so many bytes more than it has; and if the machine has none left, be the first to end."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    wanted = pages * os.sysconf("SC_PAGE_SIZE") + further_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_time(further_seconds: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    wanted = math.ceil(time.process_time()) + further_seconds
    resource.setrlimit(resource.RLIMIT_CPU, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _unusable(base: BaseModel, error: Exception) -> BaseUnusable:
    if isinstance(error, BaseUnusable):
        return error
    said = error.message if isinstance(error, TuningforkError) else _said(error)
    return BaseUnusable(f"base model {base.name} cannot be used: {said}")


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
