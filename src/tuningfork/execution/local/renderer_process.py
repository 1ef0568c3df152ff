"""A renderer: a process that reads what describes one base model, and renders conversations for it, within limits.

Chat templates are programs that come with a base, and its other files are foreign too. What they do to time and memory
they do in this process, which the system ends at its limits (`setrlimit`).
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from tuningfork.domain.base_model import BaseModel
from tuningfork.domain.errors import BaseUnusable, InternalError, TuningforkError
from tuningfork.execution.local.process_limits import limit_memory, limit_time
from tuningfork.execution.local.process_names import RENDERER, name_this_process
from tuningfork.execution.local.reading_back import reader_of
from tuningfork.modeling.chat_template import ChatFormat, RenderedRow
from tuningfork.modeling.describing import describe
from tuningfork.modeling.device.free_memory import give_back

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
        limit_memory(opening.memory_bytes)
        limit_time(opening.cpu_seconds)
        try:
            chat = describe(opening.base)
        except Exception as error:  # noqa: BLE001 - foreign files can raise anything
            pipe.send(Raised(_unusable(opening.base, error)))
            return
        pipe.send(Opened(chat.end_of_turn_ids, chat.lead, chat.next_turn_labels))
        # What a large tokenizer was read from.
        give_back()
        while True:
            call: Call = pipe.recv()
            limit_time(call.cpu_seconds)
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


read_answer = reader_of(Opened, Returned, Raised, RenderedRow)
"""Reads an `Opened`, `Returned` or `Raised`, as a renderer has sent it; see `reading_back.reader_of`."""


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Whether this error is a `MemoryError`, or was raised because of one."""
    while error is not None and not isinstance(error, MemoryError):
        error = error.__cause__
    return error is not None


def _unusable(base: BaseModel, error: Exception) -> BaseUnusable:
    if isinstance(error, BaseUnusable):
        return error
    said = error.message if isinstance(error, TuningforkError) else _said(error)
    return BaseUnusable(f"base model {base.name} cannot be used: {said}")


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
