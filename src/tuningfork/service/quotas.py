"""What one caller may use: requests and tokens in any minute, and tuning jobs at a time.

Callers are told apart by the credential that they show, so an access token draws on the budget of the API key that it
was made for. Windows slide: what was used counts for sixty seconds from then. They are in memory, of each server its
own; jobs are counted in the database.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tuningfork.domain.errors import SERVICE, QuotaExceeded, QuotaViolation
from tuningfork.domain.method import Method
from tuningfork.domain.permission import Principal

WINDOW_SECONDS = 60.0
JOB_RETRY_SECONDS = 30
"""When a caller with too many jobs is told to come back; nobody knows when one of them ends."""

WAITING = frozenset({Method.GET_OPERATION, Method.GET_TUNED_MODEL})
"""How clients wait for a tuning job, every second or oftener. It costs next to nothing, and is not counted."""

GENERATING = frozenset({Method.GENERATE_CONTENT, Method.STREAM_GENERATE_CONTENT, Method.GENERATE_TEXT})
"""What uses tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The most of each thing; None is as much as one likes."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_jobs: int | None = None


UNLIMITED = Budget()


class Quotas:
    """Counts what callers use and refuses what is too much. Safe for any number of threads.

    Args:
        budget: the same for every caller.
        monotonic: seconds from any beginning, never going back.

    """

    def __init__(self, budget: Budget = UNLIMITED, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._budget = budget
        self._requests = _Windows(budget.requests_per_minute, monotonic)
        self._tokens = _Windows(budget.tokens_per_minute, monotonic)

    def admit(self, principal: Principal, method: Method) -> None:
        """Count a request, unless it is refused.

        Raises:
            QuotaExceeded: the last minute's requests are as many as may be, or its tokens for a method that uses some.

        """
        caller = principal.credential
        if method in GENERATING and (wait_seconds := self._tokens.wait(caller)):
            raise self._exceeded(
                "tokens", "TokensPerMinutePerKey", self._budget.tokens_per_minute, caller, wait_seconds
            )
        if method in WAITING:
            return
        if wait_seconds := self._requests.use(caller, 1):
            raise self._exceeded(
                "requests", "RequestsPerMinutePerKey", self._budget.requests_per_minute, caller, wait_seconds
            )

    def spend(self, principal: Principal, tokens: int) -> None:
        """Count the tokens of a prompt and its answer, which may be more than were left: nobody knows before."""
        self._tokens.add(principal.credential, tokens)

    def check_jobs(self, principal: Principal, count_unfinished: Callable[[], int]) -> None:
        """Pass a new tuning job beside those of the caller that are not done.

        Raises:
            QuotaExceeded: they are as many as may be.

        """
        most = self._budget.concurrent_jobs
        if most is not None and count_unfinished() >= most:
            raise self._exceeded(
                "concurrent_tuning_jobs", "ConcurrentTuningJobsPerKey", most, principal.credential, JOB_RETRY_SECONDS
            )

    @staticmethod
    def _exceeded(metric: str, quota_id: str, most: int | None, caller: str, wait_seconds: float) -> QuotaExceeded:
        violation = QuotaViolation(
            metric=f"{SERVICE}/{metric}",
            id=quota_id,
            value=most or 0,
            dimensions=(("key", caller),) if caller else (),
        )
        return QuotaExceeded(violation, wait_seconds)


class _Windows:
    """What each caller used in the last minute."""

    def __init__(self, most: int | None, monotonic: Callable[[], float]) -> None:
        self._most = most
        self._monotonic = monotonic
        self._windows: dict[str, _Window] = {}
        self._sweep_time = monotonic()
        self._lock = threading.Lock()

    def use(self, caller: str, amount: int) -> float:
        """Take from the budget, or nothing if it is used up: the seconds until some is free, 0 if it was taken."""
        with self._lock:
            wait_seconds = self._wait(caller)
            if not wait_seconds:
                self._add(caller, amount)
            return wait_seconds

    def wait(self, caller: str) -> float:
        """The seconds until some of the budget is free, 0 if some is."""
        with self._lock:
            return self._wait(caller)

    def add(self, caller: str, amount: int) -> None:
        """Take from the budget, whatever is left of it."""
        with self._lock:
            self._add(caller, amount)

    def _wait(self, caller: str) -> float:
        window = self._windows.get(caller)
        return 0.0 if self._most is None or window is None else window.wait(self._most, self._monotonic())

    def _add(self, caller: str, amount: int) -> None:
        if self._most is None or amount <= 0:
            return
        now = self._monotonic()
        if now - self._sweep_time >= WINDOW_SECONDS:
            # Callers that stay away are forgotten.
            self._windows = {name: window for name, window in self._windows.items() if not window.is_over(now)}
            self._sweep_time = now
        self._windows.setdefault(caller, _Window()).add(amount, now)


class _Window:
    """Amounts with their moments, the oldest first, and their sum."""

    def __init__(self) -> None:
        self._used: deque[tuple[float, int]] = deque()
        self._total = 0

    def add(self, amount: int, now: float) -> None:
        """Count an amount."""
        self._used.append((now, amount))
        self._total += amount

    def is_over(self, now: float) -> bool:
        """Whether nothing in it counts any more."""
        return not self._used or self._used[-1][0] + WINDOW_SECONDS <= now

    def wait(self, most: int, now: float) -> float:
        """The seconds until less than `most` counts, 0 if it is so already."""
        while self._used and self._used[0][0] + WINDOW_SECONDS <= now:
            self._total -= self._used.popleft()[1]
        left = self._total
        if left < most:
            return 0.0
        # After an answer that took more than was left, more than the oldest has to go.
        for moment, amount in self._used:
            left -= amount
            if left < most:
                return moment + WINDOW_SECONDS - now
        return WINDOW_SECONDS
