"""Whether a server can do all of its work, check by check, for load balancers and operators."""

import logging
import threading
import time
from collections.abc import Callable, Mapping

logger = logging.getLogger(__name__)

KEPT_SECONDS = 1.0
"""How long results are used again, so that asking often costs little: one of the checks writes."""


class Readiness:
    """Runs named checks, each of which returns why something does not work, or None. Thread-safe.

    A check that raises an exception is logged, and has failed with the exception's class as its reason.

    Args:
        checks: the checks by name, in the order in which they are shown.
        monotonic: a monotonic clock, in seconds.

    """

    def __init__(
        self, checks: Mapping[str, Callable[[], str | None]], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._checks = checks
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._results: Mapping[str, str | None] = {}
        self._checked_at: float | None = None

    def results(self) -> Mapping[str, str | None]:
        """Why each check fails; None: it does not. The results of the last second are not made anew."""
        with self._lock:
            now = self._monotonic()
            if self._checked_at is None or now - self._checked_at >= KEPT_SECONDS:
                self._results = {name: _result(name, check) for name, check in self._checks.items()}
                self._checked_at = self._monotonic()
            return self._results


def _result(name: str, check: Callable[[], str | None]) -> str | None:
    try:
        return check()
    except Exception as error:
        logger.exception("the check of %s could not be made", name, extra={"action": "check_failed"})
        return f"it could not be checked ({type(error).__name__}); the log says why"
