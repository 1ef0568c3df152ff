"""Starts processes as copies of an early copy of this one, so that they have all its modules without importing them.

The early copy (a fork server) is made before this process has other threads: a copy of a process with threads may find
locks that nobody will ever open. Linux only.
"""

import errno
import gc
import os
import signal
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

from tuningfork.execution.local.process_names import FORK_SERVER, name_this_process

_NUMBER = struct.Struct("q")
_FORK = 0
"""The order to start a process. Another number is the order to end the process of this id, a negative one to kill the
process of its absolute value, which is ended later."""


@dataclass(frozen=True, slots=True)
class Forked:
    """A process that was started, and this side of the pipe to it."""

    pid: int
    pipe: Connection


class ForkServer:
    """Starts and ends processes that run `serve`. Thread-safe. All of them end with this process.

    Args:
        serve: what such a process runs, with its side of the pipe.
        closed_there: file descriptors of this process that the others must not hold open.
        on_loss: called when the fork server turns out to have ended, after which no process can be started or ended.

    """

    def __init__(
        self,
        serve: Callable[[Connection], None],
        *,
        closed_there: Sequence[int] = (),
        on_loss: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_loss = on_loss
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair()
        with theirs:
            if os.fork() == 0:
                self._control.close()
                for descriptor in closed_there:
                    os.close(descriptor)
                _run(theirs, serve)

    def start(self) -> Forked:
        """Start a process.

        Raises:
            OSError: the system could not start one, for example for lack of memory.

        """
        ours, theirs = socket.socketpair()
        with theirs:
            pid = self._answer_to(_FORK, theirs.fileno())
        if pid < 0:
            ours.close()
            raise OSError(-pid, os.strerror(-pid))
        return Forked(pid, Connection(ours.detach()))

    def kill(self, forked: Forked) -> None:
        """Kill a process; whoever uses its pipe finds it closed, and then calls `end`."""
        self._answer_to(-forked.pid)

    def end(self, forked: Forked) -> int:
        """Kill a process if it still runs, and close the pipe. To be called once for each.

        Returns:
            The number of the signal that ended it, or 0 if it had ended without one.

        """
        try:
            return self._answer_to(forked.pid)
        finally:
            # Not before, since a process that finds its pipe closed ends by itself.
            forked.pipe.close()

    def close(self) -> None:
        """End all processes."""
        self._control.close()

    def _answer_to(self, order: int, *descriptors: int) -> int:
        with self._lock:
            try:
                socket.send_fds(self._control, [_NUMBER.pack(order)], descriptors)
                answer = self._control.recv(_NUMBER.size)
            except ConnectionError:
                answer = b""
        if not answer:
            self._on_loss()
            raise OSError("the fork server has ended")
        number: int = _NUMBER.unpack(answer)[0]
        return number


def _run(control: socket.socket, serve: Callable[[Connection], None]) -> None:
    """Carry out orders until the first process ends; never returns."""
    name_this_process(FORK_SERVER)
    # A collection writes to the objects that it looks at, and so makes copies of pages that the processes share.
    gc.freeze()
    # Ctrl-C in a terminal sends it to this process too, which ends with the first process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    running: set[int] = set()
    try:
        while True:
            order, descriptors, _, _ = socket.recv_fds(control, _NUMBER.size, 1)
            if not order:
                return
            number = _NUMBER.unpack(order)[0]
            if number == _FORK:
                answer = _fork(control, descriptors[0], serve)
                if answer > 0:
                    running.add(answer)
                control.sendall(_NUMBER.pack(answer))
            elif number < 0:
                # A process that was ended already may have left its id to another one.
                if -number in running:
                    os.kill(-number, signal.SIGKILL)
                control.sendall(_NUMBER.pack(0))
            else:
                running.discard(number)
                control.sendall(_NUMBER.pack(_end(number)))
    finally:
        for pid in running:
            os.kill(pid, signal.SIGKILL)
        os._exit(0)


def _fork(control: socket.socket, descriptor: int, serve: Callable[[Connection], None]) -> int:
    """Start a process; returns its id, or the error's number as a negative one."""
    try:
        pid = os.fork()
    except OSError as error:
        os.close(descriptor)
        return -(error.errno or errno.EAGAIN)
    if pid:
        os.close(descriptor)
        return pid
    try:
        control.close()
        serve(Connection(descriptor))
    finally:
        # Not `sys.exit`, which would run what the first process has registered for its end.
        os._exit(0)


def _end(pid: int) -> int:
    # Nobody has waited for it yet, so the id still is its own, even if it has ended.
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
