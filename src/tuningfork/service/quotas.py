"""Limits for each caller: requests and tokens in any minute, and tuning jobs at a time.

Callers are distinguished by their credential; an access token shares the budget of the API key that it was made for.
Windows slide: each use counts for sixty seconds. Each server counts requests and tokens in its own memory; jobs are
counted in the database.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tuningfork.domain.errors import Quota, QuotaExceeded
from tuningfork.domain.permission import Principal

WINDOW_SECONDS = 60.0
JOB_RETRY_SECONDS = 30
"""How long a caller with too many jobs is told to wait: an arbitrary time, since no one knows when a job ends."""


class Cost(StrEnum):
    """What a call uses of its caller's budgets. Each dialect defines it for its methods."""

    REQUEST = "request"
    """One request."""
    TOKENS = "tokens"
    """One request and its tokens, which are counted once the text has been generated."""
    NOTHING = "nothing"
    """Nothing: clients poll such a method every second while they wait for a tuning job, and a call costs little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The limit of each quantity; None: unlimited."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_jobs: int | None = None


UNLIMITED = Budget()


class Quotas:
    """Counts what callers use, and refuses calls that exceed the budget. Thread-safe.

    Args:
        budget: the limits, the same for every caller.
        monotonic: a monotonic clock, in seconds.

    """

    def __init__(self, budget: Budget = UNLIMITED, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._budget = budget
        self._requests = _Windows(budget.requests_per_minute, monotonic)
        self._tokens = _Windows(budget.tokens_per_minute, monotonic)

    @property
    def are_limited(self) -> bool:
        """Whether a key has any budget, so that a further key would be a further one."""
        return self._budget != UNLIMITED

    def admit(self, principal: Principal, cost: Cost) -> None:
        """Count a request, unless it is refused.

        Raises:
            QuotaExceeded: the caller has used up the requests of the last minute, or, for a call that uses tokens, the
                tokens of the last minute.

        """
        caller = principal.credential
        if cost is Cost.TOKENS and (wait_seconds := self._tokens.wait(caller)):
            raise _exceeded(Quota.TOKENS_PER_MINUTE, self._budget.tokens_per_minute, caller, wait_seconds)
        if cost is Cost.NOTHING:
            return
        if wait_seconds := self._requests.use(caller, 1):
            raise _exceeded(Quota.REQUESTS_PER_MINUTE, self._budget.requests_per_minute, caller, wait_seconds)

    def spend(self, principal: Principal, tokens: int) -> None:
        """Count the tokens of a prompt and its answer. They may exceed the limit, since they are counted afterwards."""
        self._tokens.add(principal.credential, tokens)

    def check_jobs(self, principal: Principal, count_unfinished: Callable[[], int]) -> None:
        """Check that the caller may have one more unfinished tuning job.

        Raises:
            QuotaExceeded: the caller has reached the limit of unfinished jobs.

        """
        most = self._budget.concurrent_jobs
        if most is not None and count_unfinished() >= most:
            raise _exceeded(Quota.CONCURRENT_JOBS, most, principal.credential, JOB_RETRY_SECONDS)


def _exceeded(quota: Quota, most: int | None, caller: str, wait_seconds: float) -> QuotaExceeded:
    return QuotaExceeded(quota, limit=most or 0, caller=caller, retry_seconds=wait_seconds)


class _Windows:
    """The amounts of one quantity (requests or tokens) that each caller used in the last minute."""

    def __init__(self, most: int | None, monotonic: Callable[[], float]) -> None:
        self._most = most
        self._monotonic = monotonic
        self._windows: dict[str, _Window] = {}
        self._sweep_time = monotonic()
        self._lock = threading.Lock()

    def use(self, caller: str, amount: int) -> float:
        """Count an amount unless the budget is used up. Returns the seconds until some is free; 0: it was counted."""
        with self._lock:
            wait_seconds = self._wait(caller)
            if not wait_seconds:
                self._add(caller, amount)
            return wait_seconds

    def wait(self, caller: str) -> float:
        """The seconds until some of the budget is free; 0 if some is free now."""
        with self._lock:
            return self._wait(caller)

    def add(self, caller: str, amount: int) -> None:
        """Count an amount, even if it exceeds the budget."""
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
            # Drop the windows of callers that have used nothing in the last minute.
            self._windows = {name: window for name, window in self._windows.items() if not window.is_over(now)}
            self._sweep_time = now
        self._windows.setdefault(caller, _Window()).add(amount, now)


class _Window:
    """The amounts that one caller used in the last minute, each with its time, the oldest first; and their sum."""

    def __init__(self) -> None:
        self._used: deque[tuple[float, int]] = deque()
        self._total = 0

    def add(self, amount: int, now: float) -> None:
        """Count an amount."""
        self._used.append((now, amount))
        self._total += amount

    def is_over(self, now: float) -> bool:
        """Whether all amounts are older than the window."""
        return not self._used or self._used[-1][0] + WINDOW_SECONDS <= now

    def wait(self, most: int, now: float) -> float:
        """The seconds until the sum is less than `most`; 0 if it is less already."""
        while self._used and self._used[0][0] + WINDOW_SECONDS <= now:
            self._total -= self._used.popleft()[1]
        left = self._total
        if left < most:
            return 0.0
        # The sum may exceed `most` by far, since tokens are counted afterwards. So several amounts may have to leave.
        for moment, amount in self._used:
            left -= amount
            if left < most:
                return moment + WINDOW_SECONDS - now
        return WINDOW_SECONDS
