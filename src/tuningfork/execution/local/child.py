"""A child process with a two-way pipe: starts it, exchanges messages with it, and notices when it dies or hangs.

The child is a new interpreter that runs a module, so it inherits no locks and no threads. The pipe is a socket pair,
which is closed when either side dies, however it dies: so a child notices that its server was killed.

A child answers pings even while it computes, since it reads on a separate thread (`execution/local/worker.py`). If a
child does not answer a ping for `silence_seconds`, it is suspended, swapped out or stuck in native code, and is killed.
"""

import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler

from tuningfork.execution.local.endings import Ending, memory_kills
from tuningfork.execution.local.messages import LastWords, Ping, Pong
from tuningfork.execution.local.outbox import Outbox

logger = logging.getLogger(__name__)

GRACE_SECONDS = 2.0
"""How long a child may take to exit after its pipe was closed. Children exit at once."""

KILLED_SECONDS = 2.0
"""How long a child may take to end after it was killed, until it is given up. Killed children end at once."""

SILENCE_SECONDS = 30.0
"""How long a child may leave a ping without an answer before it is killed."""

START_SECONDS = 180.0
"""The same for a child that has not sent anything yet, since it imports torch first."""

_LOOKS = 10
"""How often a child that sends nothing is checked before it is killed."""


class Child:
    """A running worker process.

    Args:
        module: the module to run; it gets the pipe's file descriptor as its only argument.
        on_message: called with each message, on the listener thread.
        on_death: called once, after the last message, on the listener thread; says how the process ended.
        environment: variables added to this process's own.
        read: makes a message of the bytes that the child has sent; it raises `pickle.UnpicklingError` if they are
            none, and then the child is killed.
        silence_seconds: how long the child may leave a ping without an answer before it is killed.
        grace_seconds: how long it may take to exit after `close`, before it is killed.
        killed_seconds: how long it may take to end after it was killed, until it is given up.

    """

    def __init__(
        self,
        module: str,
        *,
        on_message: Callable[[object], None],
        on_death: Callable[[Ending], None],
        environment: Mapping[str, str],
        read: Callable[[bytes], object] = pickle.loads,
        silence_seconds: float = SILENCE_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
        killed_seconds: float = KILLED_SECONDS,
    ) -> None:
        ours, theirs = socket.socketpair()
        self._memory_kills_before = memory_kills()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-P", "-m", module, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                env={**os.environ, **environment},
            )
        name = module.rpartition(".")[2]
        self._pipe: Connection = Connection(ours.detach())
        self._outbox = Outbox(self._pipe, name=f"send-{name}")
        self._on_message = on_message
        self._on_death = on_death
        self._read = read
        self._silence_seconds = silence_seconds
        self._grace_seconds = grace_seconds
        self._killed_seconds = killed_seconds
        self._last_words = ""
        self._closing = threading.Lock()
        self._listener = threading.Thread(target=self._listen, name=f"listen-{name}", daemon=True)
        self._listener.start()
        logger.info("started %s", module, extra={"action": "worker_started", "pid": self.pid})

    @property
    def pid(self) -> int:
        """The operating system's id of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def send(self, message: object, *, always: bool = False) -> bool:
        """Send a message; never waits for the child.

        A message to a dead child is dropped; `on_death` reports the death.

        Returns:
            False if so many messages wait for the child that this one was dropped. With `always` it is never dropped;
            for short and rare messages.

        """
        return self._outbox.put(bytes(ForkingPickler.dumps(message)), always=always)

    def close(self) -> None:
        """End the process: close the pipe, and kill the process if it does not exit in time."""
        self._shut_down()
        self._end()
        self._listener.join(self._grace_seconds)

    def _shut_down(self) -> None:
        """End all reading from the pipe and writing to it, also in threads that wait for it."""
        with self._closing:
            self._outbox.close()
            if self._pipe.closed:
                return
            # `shutdown` on a duplicate of the socket also wakes this process's threads; closing it would not.
            try:
                with socket.socket(fileno=os.dup(self._pipe.fileno())) as pipe:
                    pipe.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _end(self) -> int:
        """End the process and return its exit code. Does not wait for a process that even SIGKILL does not end."""
        try:
            return self._process.wait(self._grace_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
        try:
            return self._process.wait(self._killed_seconds)
        except subprocess.TimeoutExpired:
            # It waits in the kernel, for example for a device or a network file system, where no signal ends it.
            logger.warning(
                "worker %d does not end although it was killed; it is given up",
                self.pid,
                extra={"action": "worker_unkillable", "pid": self.pid},
            )
            return -signal.SIGKILL

    def _listen(self) -> None:
        silence = _Silence(self._silence_seconds)
        while not silence.is_over:
            try:
                if not self._pipe.poll(silence.look_seconds):
                    if silence.look():
                        self.send(Ping(), always=True)
                    continue
                message = self._read(self._pipe.recv_bytes())
            except (EOFError, OSError):
                break
            except pickle.UnpicklingError:
                logger.exception(
                    "worker %d has sent something that is no message, and is killed",
                    self.pid,
                    extra={"action": "worker_garbled", "pid": self.pid},
                )
                self._process.kill()
                break
            silence.end()
            if isinstance(message, LastWords):
                self._last_words = message.said
            elif not isinstance(message, Pong):
                self._on_message(message)
        if silence.is_over:
            logger.error(
                "worker %d has not answered for %g s, and is killed",
                self.pid,
                silence.limit_seconds,
                extra={"action": "worker_silent", "pid": self.pid},
            )
            self._process.kill()
        # Without the pipe, nothing that the child still does can be reported.
        self._shut_down()
        exit_code = self._end()
        self._outbox.join(self._grace_seconds)
        with self._closing:
            self._pipe.close()
        self._on_death(
            Ending(
                exit_code=exit_code,
                last_words=self._last_words,
                memory_kills=memory_kills() - self._memory_kills_before,
                silent_seconds=silence.limit_seconds if silence.is_over else 0.0,
            )
        )


class _Silence:
    """Measures for how long a ping has had no answer.

    `look` is called every `look_seconds`. If the time between two calls was more than twice as long, only twice the
    time is counted: then this process itself was suspended, and perhaps the child too.
    """

    def __init__(self, silence_seconds: float) -> None:
        self._silence_seconds = silence_seconds
        # The limit until the first message.
        self.limit_seconds = max(START_SECONDS, silence_seconds)
        self.look_seconds = silence_seconds / _LOOKS
        self._pinged = False
        self._seconds = 0.0
        self._last_look = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether the child has been silent for too long."""
        return self._seconds >= self.limit_seconds

    def look(self) -> bool:
        """Note that no message has come since the last call; returns whether a ping should be sent."""
        now = time.monotonic()
        if self._pinged:
            self._seconds += min(now - self._last_look, 2 * self.look_seconds)
        self._last_look = now
        is_due, self._pinged = not self._pinged, True
        return is_due

    def end(self) -> None:
        """Note that a message has come."""
        self._pinged, self._seconds, self.limit_seconds = False, 0.0, self._silence_seconds
