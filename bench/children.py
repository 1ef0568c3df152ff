"""The side of a benchmark that asks: children that stay alive, pinned to the same cores, measured by turns.

Machines are shared and change their pace from minute to minute, so that only figures taken side by side can be
compared: each round asks every child once, in turn, and all run on the same cores with the same number of threads.
"""

import argparse
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil

import processors
from tuningfork.execution.local.environment import huge_pages

PROGRAMS = Path(__file__).parent / "programs"

_LOG_LINES = 30


class ChildFailed(Exception):
    """A child could not start or could not do what it was asked; the message holds its last words."""


def pin(threads: int) -> list[int]:
    """Keep this process and all that it starts on its first so many cores, one thread each; returns them.

    Raises:
        SystemExit: it may not use as many, or figures would be of no kind of processor (`processors.kind_of`).

    """
    try:
        processors.kind_of(processors.facts())
    except ValueError as error:
        raise SystemExit(str(error)) from error
    if not hasattr(os, "sched_setaffinity"):
        cores = list(range(threads))
    else:
        allowed = sorted(os.sched_getaffinity(0))
        if threads > len(allowed):
            raise SystemExit(f"--threads {threads} needs as many cores, and this process may use {allowed}")
        cores = allowed[:threads]
        os.sched_setaffinity(0, cores)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    return cores


def by_processor_time(device: str) -> bool:
    """Whether work is measured by its processor time: on a CPU, after `pin(1)`.

    Others at work on the same machine disturb it less than time on a clock. With several threads it says nothing of how
    long the work takes.
    """
    return device == "cpu" and os.environ.get("OMP_NUM_THREADS") == "1"


def add_quick(parser: argparse.ArgumentParser) -> None:
    """The options of a program that has a quick form."""
    parser.add_argument("--quick", action="store_true", help="less, with the peers that are there; writes no result")
    parser.add_argument("--seconds", type=float, help="end about then, with fewer rounds or peers; default: no limit")


def begin(arguments: argparse.Namespace) -> None:
    """Pin this process to its cores, and limit its time, counted from its start, as these options say."""
    pin(arguments.threads)
    if arguments.seconds is not None:
        # On a busy machine, what was imported until here has taken a part of it.
        end_after(arguments.seconds - (time.time() - psutil.Process().create_time()))


def end_after(seconds: float | None) -> None:
    """Have children end, and rounds cease, so long after this call. None: they take what they take."""
    _time.ends = None if seconds is None else time.monotonic() + seconds


def seconds_left() -> float | None:
    """How long children may still take; None: there is no limit."""
    return None if _time.ends is None else max(0.0, _time.ends - time.monotonic())


def rounds(count: int) -> Iterator[int]:
    """The numbers of so many rounds, or of fewer where there is no time for one more that takes as long as the last."""
    for index in range(count):
        begun = time.monotonic()
        yield index
        left = seconds_left()
        if left is not None and left < time.monotonic() - begun:
            return


@dataclass(slots=True)
class _Time:
    """When this process's children have to end, on the monotonic clock; None: they need not."""

    ends: float | None = None


_time = _Time()


class Child:
    """One process of a comparison.

    Args:
        program: a file below `bench/programs`.
        setup: what it is to prepare; becomes its only argument.
        python: the interpreter of its environment; None: this one.
        environment: variables beside ours.

    Raises:
        ChildFailed: it ended before it was ready.

    """

    def __init__(
        self,
        program: str,
        setup: Mapping[str, Any],
        *,
        python: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._name = program
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  `close` does
        self._process = subprocess.Popen(
            [python or sys.executable, PROGRAMS / program, json.dumps(setup)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            # Our own programs run as the service runs its workers.
            env={**os.environ, **(huge_pages() if str(program).endswith("_ours.py") else {}), **(environment or {})},
        )
        try:
            self.versions: dict[str, str] = self._answer()["versions"]
        except ChildFailed:
            self.close()
            raise

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """What it answers.

        Raises:
            ChildFailed: it could not.

        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ChildFailed(self._last_words()) from None
        return self._answer()

    def close(self) -> None:
        """End it."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                continue
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        left = seconds_left()
        # One line is one answer, so that nothing waits in the pipe's own buffer.
        if left is not None and not select.select([self._process.stdout], [], [], left)[0]:
            self._process.kill()
            raise ChildFailed(f"{self._name} had not ended when the time was up")
        line = self._process.stdout.readline()
        if not line:
            raise ChildFailed(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ChildFailed(f"{self._name}: {answer['error']}")
        return answer

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read().splitlines() if line.strip()]
        print("\n".join(lines[-_LOG_LINES:]), file=sys.stderr, flush=True)
        return f"{self._name} ended: {lines[-1] if lines else 'without a word'}"


@dataclass(slots=True)
class Company:
    """The children of one comparison by label, and why some are missing."""

    children: dict[str, Child] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    def invite(self, label: str, start: Callable[[], Child]) -> Child | None:
        """Start a peer; one that cannot be is noted and the rest goes on."""
        print(f"  starting {label} ...", flush=True)
        try:
            child = self._stack.enter_context(start())
        except Exception as error:  # noqa: BLE001  whatever keeps a peer away is its own affair
            self.miss(label, error)
            return None
        self.children[label] = child
        return child

    def miss(self, label: str, error: Exception) -> None:
        """Note why there are no figures of this one."""
        self.missing[label] = " ".join(str(error).split())
        print(f"  {label}: not measured: {self.missing[label]}", flush=True)

    def round(self, index: int, ask: Callable[[str, Child], None]) -> None:
        """Ask everybody once, every other round in the opposite order. Who fails takes part no longer."""
        labels = list(self.children)
        for label in labels if index % 2 == 0 else reversed(labels):
            try:
                ask(label, self.children[label])
            except ChildFailed as error:
                if label == "ours":
                    if seconds_left() == 0:
                        raise SystemExit(f"not measured: {error}") from error
                    raise
                self.miss(label, error)
                del self.children[label]

    def versions(self) -> dict[str, dict[str, str]]:
        """Of the packages of each child's environment."""
        return {label: child.versions for label, child in self.children.items() if label != "ours"}

    def notes(self) -> list[str]:
        """A sentence for each that is missing."""
        return [f"{label} was not measured: {why}" for label, why in self.missing.items()]


@contextmanager
def company() -> Iterator[Company]:
    """An empty one, whose children end with the block."""
    with ExitStack() as stack:
        yield Company(_stack=stack)
