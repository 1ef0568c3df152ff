"""The main loop of worker processes: receives commands, sends reports, and sets torch up."""

import gc
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any, Generic, Protocol, TypedDict, TypeVar

from tuningfork.domain.base_model import WeightType
from tuningfork.domain.exhaustion import is_out_of_memory, reason_of
from tuningfork.execution.local.environment import (
    LOG_FORMAT_VARIABLE,
    SHORTCUTS_VARIABLE,
    THREADS_VARIABLE,
    WEIGHTS_VARIABLE,
)
from tuningfork.execution.local.messages import LastWords, Ping, Pong
from tuningfork.logs.configuration import configure
from tuningfork.logs.formats import LogFormat
from tuningfork.logs.tracebacks import in_words
from tuningfork.modeling.device.free_memory import give_back

SWITCH_SECONDS = 0.0005
"""How long a computing thread may hold Python's global interpreter lock while another thread, such as the one that
reads commands, waits for it."""

IDLE_SECONDS = 2.0
"""After how long without a command a worker without work gives free memory back to the system."""

_MOST_LAST_WORDS = 500
"""The most characters of the error that a worker reports when it ends."""

TRAINER_NICENESS = 3
PREPARER_NICENESS = 3
GENERATOR_NICENESS = 1
RATER_NICENESS = 1
"""By how much each kind of worker steps back behind the server, as `nice` counts it. Where processors are scarce, the
short work of a request comes before a token of an answer, and both before a pass of training, which has no deadline,
and before the reading of its data."""

Command = TypeVar("Command")
Command_contra = TypeVar("Command_contra", contravariant=True)


class Line(Generic[Command]):
    """A worker's side of the pipe to the server.

    Commands are read on a separate thread, so that this process ends at once if the server dies, and pings are answered
    whatever the worker is doing.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._sending = threading.Lock()
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="line", daemon=True).start()

    def waiting(self, *, block: bool) -> list[Command]:
        """All commands since the last call; with `block`, waits until there is one."""
        commands = [self._next()] if block else []
        while True:
            try:
                commands.append(self._commands.get_nowait())
            except queue.Empty:
                return commands

    def _next(self) -> Command:
        """Wait for a command; if none comes for a while, memory that is free goes back to the system."""
        try:
            return self._commands.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            give_back()
            return self._commands.get()

    def send(self, message: object) -> None:
        """Send a message to the server. May be called from any thread."""
        with self._sending:
            self._pipe.send(message)

    def _read(self) -> None:
        while True:
            try:
                command = self._pipe.recv()
                if isinstance(command, Ping):
                    self.send(Pong())
                else:
                    self._commands.put(command)
            except (EOFError, OSError):
                # The server has died. Complete files are on the disk; incomplete ones have temporary names.
                logging.shutdown()
                os._exit(0)


def step_back(niceness: int) -> None:
    """Let the system prefer other processes; to be called before this one has threads or processes of its own."""
    os.nice(niceness)


def best_device() -> str:
    """The device to compute on: the first CUDA device if there is one, else the CPU."""
    import torch  # noqa: PLC0415 - this module is imported by tests that need no torch

    return "cuda" if torch.cuda.is_available() else "cpu"


class LoadingOptions(TypedDict):
    """How this process loads bases; see `modeling.loading.load_base`."""

    device: str
    gpu_shortcuts: bool
    weights: WeightType


def loading_options() -> LoadingOptions:
    """How this process loads bases, as the server has told it."""
    return {
        "device": best_device(),
        "gpu_shortcuts": os.environ.get(SHORTCUTS_VARIABLE) != "off",
        "weights": WeightType(os.environ.get(WEIGHTS_VARIABLE) or WeightType.STORED),
    }


class Worker(Protocol[Command_contra]):
    """What a worker process runs. `obey` and `advance` yield the messages to send to the server."""

    @property
    def idle(self) -> bool:
        """Whether the worker has no work, so that it can wait for the next command."""
        ...

    def obey(self, command: Command_contra) -> Iterator[object]:
        """Carry out a command."""
        ...

    def advance(self) -> Iterator[object]:
        """Continue the current work."""
        ...


def run(worker: Worker[Any], *, with_torch: bool = True) -> None:
    """Connect to the server over the file descriptor in `sys.argv`, and run the worker until the server ends.

    Without torch, the worker computes nothing with it, and it need not be loaded.
    """
    level = os.environ.get("TUNINGFORK_LOG_LEVEL", "warning").upper()
    form = LogFormat(os.environ.get(LOG_FORMAT_VARIABLE, LogFormat.TEXT))
    configure(level, form, _role())
    # Ctrl-C in a terminal sends SIGINT to this process too; it is ignored, since the server ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Of a hundred thousand objects of imported modules none is garbage. Each full collection would look at all of them,
    # which takes some 70 ms, and the jobs and requests would wait.
    gc.freeze()
    line: Line[Any] = Line(Connection(int(sys.argv[1])))
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        if with_torch:
            _use_threads(int(os.environ.get(THREADS_VARIABLE, "0")))
        _work(worker, line)
    except Exception as error:
        said = reason_of(error) if is_out_of_memory(error) else in_words(error)
        line.send(LastWords(said[:_MOST_LAST_WORDS]))
        if is_out_of_memory(error):
            sys.exit(1)
        raise


def _use_threads(count: int) -> None:
    """Let torch compute with so many threads; 0: with as many as it chooses."""
    import torch  # noqa: PLC0415 - this module is imported by tests that need no torch

    if count:
        torch.set_num_threads(count)


def _role() -> str:
    """What this process is, after the module that it runs: `trainer` for `trainer_process`."""
    module = getattr(sys.modules["__main__"], "__spec__", None)
    return "worker" if module is None else module.name.rpartition(".")[2].removesuffix("_process")


def _work(worker: Worker[Any], line: Line[Any]) -> None:
    while True:
        for command in line.waiting(block=worker.idle):
            for said in worker.obey(command):
                line.send(said)
        for said in worker.advance():
            line.send(said)
