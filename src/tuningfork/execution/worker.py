"""What trainer and generator processes have in common: the pipe's other end, and how torch is set up."""

import logging
import os
import queue
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any, Generic, Protocol, TypeVar

from tuningfork.execution.environment import SHORTCUTS_VARIABLE
from tuningfork.modeling import shortcuts

SWITCH_SECONDS = 0.0005
"""How long a thread that computes may keep Python's lock from one that has just been woken, such as by a message."""

Command = TypeVar("Command")
Command_contra = TypeVar("Command_contra", contravariant=True)


class Inbox(Generic[Command]):
    """Commands from the server, read on a thread of its own so that its death ends this process at once."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def waiting(self, *, block: bool) -> list[Command]:
        """All commands that have come since the last call; with `block`, waits until there is one."""
        commands = [self._commands.get()] if block else []
        while True:
            try:
                commands.append(self._commands.get_nowait())
            except queue.Empty:
                return commands

    def _read(self) -> None:
        while True:
            try:
                self._commands.put(self._pipe.recv())
            except (EOFError, OSError):
                # The server is gone. What is durable is on disk; a half-written file has a temporary name.
                os._exit(0)


def best_device() -> str:
    """The device to compute on: the first CUDA device if there is one, else the CPU."""
    import torch  # noqa: PLC0415 - this module is imported by tests that need no torch

    return "cuda" if torch.cuda.is_available() else "cpu"


class Worker(Protocol[Command_contra]):
    """What a process does with its commands: both methods yield what the server should be told."""

    @property
    def idle(self) -> bool:
        """Whether there is nothing to advance until a command comes."""
        ...

    def obey(self, command: Command_contra) -> Iterator[object]:
        """Do what the command says."""
        ...

    def advance(self) -> Iterator[object]:
        """Go on with what is under way."""
        ...


def run(worker: Worker[Any]) -> None:
    """Connect to the server over the file descriptor in `sys.argv` and let the worker work until the server is gone."""
    level = os.environ.get("TUNINGFORK_LOG_LEVEL", "warning").upper()
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(processName)s %(name)s: %(message)s")
    pipe = Connection(int(sys.argv[1]))
    sys.setswitchinterval(SWITCH_SECONDS)
    import torch  # noqa: PLC0415 - this module is imported by tests that need no torch

    threads = int(os.environ.get("TUNINGFORK_WORKER_THREADS", "0"))
    if threads:
        torch.set_num_threads(threads)
    if os.environ.get(SHORTCUTS_VARIABLE) == "off":
        shortcuts.forgo()
    inbox: Inbox[Any] = Inbox(pipe)
    while True:
        for command in inbox.waiting(block=worker.idle):
            for said in worker.obey(command):
                pipe.send(said)
        for said in worker.advance():
            pipe.send(said)
