"""What happened during a soak: every request of the polite owners, every job, every fault, every sample of resources.

Times are seconds since the run began.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

ALL_KINDS = frozenset({"create", "get", "list", "generate", "stream", "count", "delete", "tune", "health"})
"""`tune` is the time from a job's create to its end, by the server's clock: the owners see the end later, since they
ask other things between two polls. `stream` is the time to the first piece of an answer."""

ANSWERS = frozenset({"generate", "stream", "count"})
"""The kinds that need a generator."""

EXCUSED: dict[str, frozenset[str]] = {
    "server killed": ALL_KINDS,
    "generator killed": ANSWERS,
    "generator stopped": ANSWERS,
    "trainer killed": frozenset({"tune"}),
    "trainer stopped": frozenset({"tune"}),
    "backup": frozenset(),
}
"""Which kinds of requests may be slow or refused while a fault lasts. The others must not notice it."""

OK = "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request of a polite owner. `outcome` is `OK`, a status code, or the name of a broken connection's error."""

    began: float
    seconds: float
    owner: str
    kind: str
    outcome: str = OK


@dataclass(slots=True, kw_only=True)
class Fault:
    """Something done to the service. It lasts until the service answers as before; `ended` None: it still lasts."""

    kind: str
    began: float
    ended: float | None = None
    note: str = ""

    def excuses(self, request: Request) -> bool:
        """Whether the request was open while the fault lasted, and is of a kind that may notice."""
        ended = float("inf") if self.ended is None else self.ended
        overlaps = request.began <= ended and request.began + request.seconds >= self.began
        return overlaps and request.kind in EXCUSED[self.kind]


@dataclass(slots=True, kw_only=True)
class Job:
    """A tuning job of a polite owner, from the create request's answer on.

    `end` "": it has not ended. `seconds`: from its create to its end, by the server's clock, if it became ACTIVE.
    """

    name: str
    owner: str
    began: float
    end: str = ""
    steps: int = 0
    error: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one process used: private (USS) and proportional (PSS) memory in MB, open files, threads."""

    time: float
    role: str
    pid: int
    uss_mb: float
    pss_mb: float
    files: int
    threads: int


@dataclass(slots=True)
class Records:
    """All of it. Threads append; nobody removes."""

    requests: list[Request] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    sizes: list[dict[str, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def now(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    def add(self, request: Request) -> None:
        """Keep a request."""
        with self._lock:
            self.requests.append(request)

    @contextmanager
    def fault(self, kind: str) -> Iterator[Fault]:
        """Keep a fault that lasts as long as the context."""
        fault = Fault(kind=kind, began=self.now())
        self.faults.append(fault)
        try:
            yield fault
        finally:
            fault.ended = self.now()

    def steps(self) -> int:
        """How many steps all jobs of polite owners are known to have made."""
        return sum(job.steps for job in self.jobs)
