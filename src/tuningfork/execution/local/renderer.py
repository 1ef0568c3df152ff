"""Renders the conversations of one base model in a process beside the worker, so that a bad base stops no other.

A base whose renderer exceeds a limit is refused: at once if its files could not even be read, else after some texts in
a row that could not be rendered, unless one that could be before still can. It is tried again after some minutes, or as
soon as its files change. A renderer that is ended from outside, as the system does if memory runs out, is replaced, and
says nothing about its base.
"""

import logging
import os
import pickle
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from tuningfork.domain.base_model import BaseModel
from tuningfork.domain.conversation import Conversation, Preference
from tuningfork.domain.dataset import characters_of
from tuningfork.domain.errors import BaseUnusable
from tuningfork.execution.local.environment import RENDERING_SECONDS
from tuningfork.execution.local.forking import Forked, ForkServer
from tuningfork.execution.local.renderer_process import (
    MOST_ANSWER_BYTES,
    Call,
    Open,
    Opened,
    Raised,
    Returned,
    read_answer,
)
from tuningfork.modeling.chat_template import RenderedRow
from tuningfork.modeling.describing import check_location, load_tokenizer
from tuningfork.modeling.device.available_memory import available_memory

logger = logging.getLogger(__name__)

_GIB = 2**30
_DESCRIBING_FILES = ("*.json", "*.jinja", "*.model", "*.txt")
_MOST_PROBE_CHARACTERS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderingLimits:
    """What a renderer may use. Times are computing time; one that waits instead may take eight times as long.

    Attributes:
        open_seconds: for reading a base's files.
        call_seconds: for a text, besides what its length takes.
        characters_per_second: how many characters of a text a renderer must render in a second.
        memory_bytes: what a renderer may take besides what it starts with.
        refused_seconds: for how long a base is refused.
        failures: how many texts in a row must fail before a base is refused.

    """

    open_seconds: int = 3 * RENDERING_SECONDS
    call_seconds: int = RENDERING_SECONDS
    characters_per_second: int = 20_000
    memory_bytes: int = 4 * _GIB
    refused_seconds: float = 600.0
    failures: int = 3


class Renderer:
    """One base's renderer: implements `Chat`, each call in its process. Thread-safe; one call at a time."""

    def __init__(
        self, base: BaseModel, forks: ForkServer, limits: RenderingLimits, monotonic: Callable[[], float]
    ) -> None:
        self._base = base
        self._forks = forks
        self._limits = limits
        self._monotonic = monotonic
        self._lock = threading.RLock()
        """Held while the process works, which may take minutes."""
        self._tokenizer_lock = threading.Lock()
        self._process: Forked | None = None
        self._opened: Opened | None = None
        self._tokenizer: PreTrainedTokenizerBase | None = None
        self._closed: Forked | None = None
        """The process that `close` has killed while it was at work."""
        self._failures = 0
        self._good: Call | None = None
        """A text that was rendered."""
        self._refusal = ""
        self._refused_until = 0.0
        self._refused_files: object = None

    @property
    def is_open(self) -> bool:
        """Whether its process runs and has found the base usable, and nothing has spoken against it since."""
        return self._process is not None and self._opened is not None and not self._refusal

    @property
    def refusal(self) -> str:
        """Why the base is refused; "": it is not."""
        return self._refusal

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The base's tokenizer, in this process; the renderer's has been tried out before."""
        # Not the other lock: answers need the tokenizer while a text is being rendered.
        with self._tokenizer_lock:
            if self._tokenizer is None:
                self._tokenizer = load_tokenizer(self._base, check_location(self._base))
            return self._tokenizer

    @property
    def end_of_turn_ids(self) -> frozenset[int]:
        """See `ChatFormat.end_of_turn_ids`."""
        return self._facts.end_of_turn_ids

    @property
    def lead(self) -> str:
        """See `ChatFormat.lead`."""
        return self._facts.lead

    @property
    def next_turn_labels(self) -> tuple[str, ...]:
        """See `ChatFormat.next_turn_labels`."""
        return self._facts.next_turn_labels

    def render_prompt(self, prompt: Conversation) -> list[int]:
        """See `ChatFormat.render_prompt`."""
        ids: list[int] = self._call("render_prompt", prompt, characters_of(prompt))
        return ids

    def render_example(self, example: Conversation) -> tuple[RenderedRow, ...]:
        """See `ChatFormat.render_example`."""
        # Each turn that is learned is rendered with all turns before it.
        rows: tuple[RenderedRow, ...] = self._call(
            "render_example", example, characters_of(example) * max(1, len(example.turns))
        )
        return rows

    def render_preference(self, preference: Preference) -> tuple[RenderedRow, RenderedRow]:
        """See `ChatFormat.render_preference`."""
        answers = sum(map(len, (*preference.chosen, *preference.rejected)))
        rows: tuple[RenderedRow, RenderedRow] = self._call(
            "render_preference", preference, 2 * characters_of(preference.prompt) + answers
        )
        return rows

    def tokens_of(self, text: str) -> tuple[tuple[int, ...], tuple[bytes, ...]]:
        """See `ChatFormat.tokens_of`."""
        tokens: tuple[tuple[int, ...], tuple[bytes, ...]] = self._call("tokens_of", text, len(text))
        return tokens

    def spell(self, ids: Sequence[int]) -> str:
        """See `ChatFormat.spell`."""
        text: str = self._call("spell", list(ids), len(ids))
        return text

    def open(self) -> None:
        """Start the process if there is none, and let it read the base's files.

        Raises:
            BaseUnusable: it could not, or it is refused.

        """
        with self._lock:
            self._check_refusal()
            if self._process is not None and self._process is self._closed:
                self._end()
            if self._process is not None:
                return
            answer = self._ask(Open(self._base, self._limits.open_seconds, self._memory_bytes()))
            if isinstance(answer, Raised):
                self._end()
                self._refuse(answer.error.message)
                raise answer.error
            assert isinstance(answer, Opened)  # noqa: S101 - a bug of ours
            self._opened = answer
            self._refusal = ""

    def close(self) -> None:
        """End the process, without waiting for a text that it renders; the next call starts another."""
        with self._tokenizer_lock:
            # The next process may find other files.
            self._tokenizer = None
        if self._lock.acquire(blocking=False):
            try:
                if self._process is not None:
                    self._end()
            finally:
                self._lock.release()
        elif (process := self._process) is not None:
            # Whoever waits for the text ends the process.
            self._closed = process
            self._forks.kill(process)

    @property
    def _facts(self) -> Opened:
        assert self._opened is not None  # noqa: S101 - a bug of ours
        return self._opened

    def _call(self, method: str, argument: object, characters: int) -> Any:
        with self._lock:
            seconds = self._limits.call_seconds + characters // self._limits.characters_per_second
            call = Call(method, argument, seconds)
            answer = self._ask(call)
            self._failures = 0
            if isinstance(answer, Raised):
                raise answer.error
            assert isinstance(answer, Returned)  # noqa: S101 - a bug of ours
            if self._good is None and characters <= _MOST_PROBE_CHARACTERS:
                self._good = call
            return answer.value

    def _ask(self, question: Open | Call) -> object:
        """The answer to a question. If the process is ended from outside meanwhile, another is asked, once."""
        for is_last in (False, True):
            if isinstance(question, Open):
                self._process = self._started()
            else:
                self.open()
            try:
                return self._answer(question)
            except _Ended as ended:
                if is_last or not ended.from_outside:
                    raise self._fault(question, ended) from None
        raise AssertionError  # pragma: no cover - the loop has returned or raised

    def _started(self) -> Forked:
        try:
            return self._forks.start()
        except OSError as error:
            raise BaseUnusable(
                f"{unusable_prefix(self._base)}no process could be started that reads it ({error.strerror or error}). "
                "Try again when this machine has memory and processes to spare"
            ) from error

    def _answer(self, question: Open | Call) -> object:
        """Send a question to the process and wait for its answer; end the process if there is none.

        Raises:
            _Ended: there is none.

        """
        process, seconds = self._process, question.cpu_seconds
        assert process is not None  # noqa: S101 - a bug of ours
        has_ended = False
        cause = f"took more than {seconds} seconds of computing"
        try:
            process.pipe.send(question)
            if process.pipe.poll(8 * seconds):
                return read_answer(process.pipe.recv_bytes(MOST_ANSWER_BYTES))
        except (EOFError, ConnectionError):
            has_ended = True
        except (OSError, pickle.UnpicklingError) as error:
            cause = f"gave something that is no answer ({error})"
        except BaseException:
            # The rest of the answer would be taken for the next one.
            self._end()
            raise
        number = self._end()
        if process is self._closed:
            raise _Ended("was given up, since the base is not used any more", is_closed=True)
        if has_ended and number != signal.SIGXCPU:
            cause = (
                f"ended the process that did it ({_signal_name(number)}), which may use "
                f"{self._memory_bytes() / _GIB:.3g} GiB of memory"
            )
        # What exceeds a limit of ours ends with another signal, or with none.
        raise _Ended(cause, from_outside=has_ended and number == signal.SIGKILL)

    def _fault(self, question: Open | Call, ended: "_Ended") -> BaseUnusable:
        """The error of a question without an answer; also counts it, and refuses the base if that is the fault's."""
        doing = "rendering a text with its chat template"
        if isinstance(question, Open):
            doing = "reading its configuration, tokenizer and template"
        prefix = unusable_prefix(self._base)
        if ended.from_outside or ended.is_closed:
            cure = "" if ended.is_closed else ", twice. The system does so if memory runs out: try again later"
            return BaseUnusable(f"{prefix}{doing} {ended.cause}{cure}")
        self._failures += 1
        message = (
            f"{prefix}{doing} {ended.cause}. Fetch the model again from a source that you trust, set a "
            "chat_template of your own in its catalog entry, or take it out of the catalog"
        )
        if isinstance(question, Open) or (self._failures >= self._limits.failures and not self._is_good()):
            self._refuse(message)
        logger.error("%s", message, extra={"action": "renderer_ended"})
        return BaseUnusable(message)

    def _is_good(self) -> bool:
        """Whether a text that was rendered before still can be: then the others are at fault, not the base."""
        if self._good is None:
            return False
        try:
            self.open()
            self._answer(self._good)
        except BaseUnusable:
            return False
        except _Ended as ended:
            return ended.from_outside or ended.is_closed
        self._failures = 0
        return True

    def _end(self) -> int:
        assert self._process is not None  # noqa: S101 - a bug of ours
        process, self._process = self._process, None
        return self._forks.end(process)

    def _memory_bytes(self) -> int:
        """What the process may take: never more than half of what this machine, container or process may."""
        memory = available_memory(torch.device("cpu"))
        most = self._limits.memory_bytes
        return most if memory is None else min(most, memory.total_bytes // 2)

    def _refuse(self, reason: str) -> None:
        self._refusal = reason
        self._refused_until = self._monotonic() + self._limits.refused_seconds
        self._refused_files = self._files()

    def _check_refusal(self) -> None:
        if self._refusal and self._monotonic() < self._refused_until and self._files() == self._refused_files:
            raise BaseUnusable(self._refusal)
        if self._refusal:
            self._failures, self._good = 0, None

    def _files(self) -> object:
        """Something that changes when the files that describe the base change, if they are in a directory."""
        directory = Path(self._base.location)
        found = [path for pattern in _DESCRIBING_FILES for path in directory.glob(pattern)]
        return sorted((path.name, status.st_size, status.st_mtime_ns) for path in found if (status := _status(path)))


class _Ended(Exception):
    """The process has ended without an answer.

    `from_outside`: neither by itself nor at a limit of ours. `is_closed`: `Renderer.close` was called.
    """

    def __init__(self, cause: str, *, from_outside: bool = False, is_closed: bool = False) -> None:
        super().__init__(cause)
        self.cause = cause
        self.from_outside = from_outside
        self.is_closed = is_closed


def unusable_prefix(base: BaseModel) -> str:
    """How every message begins that says why a base is refused."""
    return f"base model {base.name} cannot be used: "


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number else "without a signal"
