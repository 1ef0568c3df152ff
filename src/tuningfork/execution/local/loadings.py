"""Which jobs of a trainer have not been taken up yet, and what they wait for: mostly a base that is being loaded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.job_stage import Beginning
from tuningfork.domain.tuning_job import JobId


@dataclass(frozen=True, slots=True)
class _Loading:
    base: BaseModelName
    began: float


@dataclass(frozen=True, slots=True)
class _HeldUp:
    reason: str


@dataclass(slots=True)
class Loadings:
    """What a trainer has told. Not thread-safe. `monotonic` returns seconds from any beginning."""

    _monotonic: Callable[[], float]
    _waiting: dict[JobId, _Loading | _HeldUp | None] = field(default_factory=dict)
    _usual_seconds: dict[BaseModelName, float] = field(default_factory=dict)

    def given(self, job_id: JobId) -> None:
        """The trainer was given a job."""
        self._waiting[job_id] = None

    def loading(self, job_id: JobId, base: BaseModelName) -> None:
        """The trainer loads a base for a job. Repeated, it goes on with the same base."""
        known = self._waiting.get(job_id)
        if not isinstance(known, _Loading) or known.base != base:
            self._waiting[job_id] = _Loading(base, self._monotonic())

    def held_up(self, job_id: JobId, reason: str) -> None:
        """The trainer cannot take a job up at the moment, and tries again; it loads no base for it meanwhile."""
        self._waiting[job_id] = _HeldUp(reason)

    def taken_up(self, job_id: JobId, *, has_base: bool) -> None:
        """The trainer has told something else of a job, so it loads no base for it any more. `has_base`: it has it."""
        loading = self._waiting.pop(job_id, None)
        if isinstance(loading, _Loading) and has_base:
            self._usual_seconds[loading.base] = self._monotonic() - loading.began

    def forget_all(self) -> None:
        """The trainer has ended, and with it all that it was given."""
        self._waiting.clear()

    def beginnings(self) -> Mapping[JobId, Beginning]:
        """The jobs that are not taken up. One of which nothing was told waits for the base that is being loaded."""
        first = next((each for each in self._waiting.values() if isinstance(each, _Loading)), None)
        return {job_id: self._beginning(loading or first) for job_id, loading in self._waiting.items()}

    def _beginning(self, loading: _Loading | _HeldUp | None) -> Beginning:
        if loading is None:
            return Beginning()
        if isinstance(loading, _HeldUp):
            return Beginning(held_up_by=loading.reason)
        seconds = self._monotonic() - loading.began
        return Beginning(base=loading.base, seconds=seconds, usual_seconds=self._usual_seconds.get(loading.base))
