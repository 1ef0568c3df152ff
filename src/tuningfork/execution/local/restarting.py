"""A worker process that is started when it is first needed, and again after it died, whatever its role."""

import logging
import threading
import time
from collections.abc import Callable

from tuningfork.execution.base import WorkerDied, WorkerStuck
from tuningfork.execution.local.child import SILENCE_SECONDS, Child
from tuningfork.execution.local.endings import Ending

logger = logging.getLogger(__name__)

_UNREADY_DEATHS = 3
"""After so many children in a row that died before they had sent anything, the role does not count as ready."""

UNREADY_SECONDS = 60.0
"""For how long after the last such death. Then whoever asks for work is let through again, which starts a child: one
that is not asked is never started, and a lack of memory may have passed."""


class RestartingChild:
    """Starts a module as a child process on demand. Subclasses add a role's commands and pending results.

    Args:
        module: the module that the child runs.
        environment: variables added to this process's own; see `execution/local/environment.py`.
        silence_seconds: how long the child may leave a ping without an answer before it is replaced.
        monotonic: a monotonic clock in seconds, by which deaths are forgotten.

    """

    def __init__(
        self,
        module: str,
        environment: dict[str, str],
        *,
        silence_seconds: float = SILENCE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._module = module
        self._environment = environment
        self._silence_seconds = silence_seconds
        self._lock = threading.RLock()
        self._child: Child | None = None
        self._closed = False
        self._monotonic = monotonic
        self._silent_deaths = 0
        self._last_death = 0.0

    @property
    def pid(self) -> int | None:
        """The process id of the child; None while none runs."""
        child = self._child
        return child.pid if child is not None and child.alive else None

    def refusal(self) -> str | None:
        """Why the role cannot work at the moment; None if its child runs, or one is started when it is needed."""
        if self._closed:
            return "it is being closed"
        recently = self._monotonic() - self._last_death < UNREADY_SECONDS
        if recently and self._silent_deaths >= _UNREADY_DEATHS:
            return f"its process has died {self._silent_deaths} times in a row at its start; the log says how"
        return None

    def close(self) -> None:
        """End the child; later calls are refused with `WorkerDied`."""
        with self._lock:
            self._closed = True
            child, self._child = self._child, None
        if child is not None:
            child.close()

    def _running(self) -> Child:
        """The child, started if none runs. The caller holds the lock."""
        if self._closed:
            raise WorkerDied("the server is shutting down; the work can be done again after its restart")
        if self._child is None:
            self._child = Child(
                self._module,
                on_message=self._hear,
                on_death=self._on_death,
                environment=self._environment,
                silence_seconds=self._silence_seconds,
            )
        return self._child

    def _order(self, command: object) -> None:
        """Send a command that begins some work; start the child if none runs.

        Raises:
            WorkerStuck: too many messages wait for the child.

        """
        with self._lock:
            if not self._running().send(command):
                name = self._module.rpartition(".")[2]
                raise WorkerStuck(f"{name} does not read what it is sent; it is replaced if it gives no sign of life")

    def _mention(self, command: object) -> None:
        """Send a short command about work that has begun, if a child runs. The caller holds the lock."""
        if self._child is not None:
            self._child.send(command, always=True)

    def _hear(self, message: object) -> None:
        self._silent_deaths = 0
        self._take(message)

    def _take(self, message: object) -> None:
        """Pass on a message of the child. Called on the listener thread."""
        raise NotImplementedError

    def _drop_all(self, ending: Ending) -> list[Callable[[WorkerDied], None]]:
        """Drop all work of the dead child; return one function for each caller that waits, to report the death to it.

        Called with the lock held.
        """
        raise NotImplementedError

    @property
    def _is_excused(self) -> bool:
        """Whether a death of the child at this moment would not tell that the child cannot start."""
        return False

    def _on_death(self, ending: Ending) -> None:
        """Drop the dead child, so that the next call starts a new one; report its death to all waiting callers."""
        with self._lock:
            closing = self._closed
            self._child = None
            self._silent_deaths += not (closing or self._is_excused)
            self._last_death = self._monotonic()
            waiting = self._drop_all(ending)
        if not closing:
            logger.warning("%s ended (%s)", self._module, ending, extra={"action": "worker_died"})
        for tell in waiting:
            tell(WorkerDied(f"{self._module.rpartition('.')[2]} ended in the middle of its work ({ending})"))
