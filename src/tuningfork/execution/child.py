"""One child process with a two-way pipe: started, written to, listened to, and noticed when it dies.

The child is a fresh interpreter running a module, so it inherits no locks and no threads; the pipe is a socket pair
whose other end closes when either side dies, however it dies. That is how a child learns that its server was killed.
"""

import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection

logger = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
"""How long a child may take to leave after its pipe was closed, before it is killed."""


class Child:
    """A running worker process.

    Args:
        module: the module to run; it gets the pipe's file descriptor as its only argument.
        on_message: called with each message, on the listener thread.
        on_death: called once with the exit code after the last message, on the listener thread.
        environment: variables added to this process's own.

    """

    def __init__(
        self,
        module: str,
        *,
        on_message: Callable[[object], None],
        on_death: Callable[[int], None],
        environment: Mapping[str, str],
    ) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", module, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                env={**os.environ, **environment},
            )
        self._pipe: Connection = Connection(ours.detach())
        self._send_lock = threading.Lock()
        self._on_message = on_message
        self._on_death = on_death
        self._listener = threading.Thread(target=self._listen, name=f"listen-{module.rpartition('.')[2]}", daemon=True)
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

    def send(self, message: object) -> None:
        """Hand a message over. A child that is already dead loses it silently: `on_death` tells."""
        with self._send_lock:
            try:
                self._pipe.send(message)
            except OSError:
                logger.debug("message to a dead child dropped", extra={"action": "send_failed", "pid": self.pid})

    def close(self) -> None:
        """Let the process go: close the pipe, which ends it, and kill it if it stays."""
        with self._send_lock:
            # `shutdown` through a duplicate wakes our own listener too, which a plain close would not.
            try:
                with socket.socket(fileno=os.dup(self._pipe.fileno())) as pipe:
                    pipe.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._end()
        self._listener.join(GRACE_SECONDS)

    def _end(self) -> int:
        try:
            return self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _listen(self) -> None:
        while True:
            try:
                message = self._pipe.recv()
            except (EOFError, OSError):
                break
            self._on_message(message)
        # The pipe is gone, so nothing the child still does can be told to anyone.
        exit_code = self._end()
        with self._send_lock:
            self._pipe.close()
        self._on_death(exit_code)
