"""The use cases of watching one job: everything that there is to show of it, and its losses from a step on."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tuningfork.domain.base_model import Catalog
from tuningfork.domain.evaluation import Evaluation
from tuningfork.domain.failure import failure_of
from tuningfork.domain.job_detail import JobDetail, JobEvent
from tuningfork.domain.job_stage import StagedJob
from tuningfork.domain.loss_series import LossSeries
from tuningfork.domain.permission import Action, Email, Principal, Role, role_of
from tuningfork.domain.snapshot_grid import SnapshotGrid
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.domain.tuning_job import JobState, Snapshot, TuningJob
from tuningfork.service.tuning import conclusion
from tuningfork.service.tuning.diagnosing import findings_of
from tuningfork.service.tuning.job_events import events_of
from tuningfork.service.tuning.queue_places import QueuePlaces
from tuningfork.service.tuning.settings_used import settings_used
from tuningfork.service.tuning.tuned import Tuned, load
from tuningfork.store import access, checkpoints, evaluations, job_events, tuning_jobs
from tuningfork.store.database import Database, Transaction
from tuningfork.store.snapshots import snapshots_of

_MOST_EVENTS = 200
MOST_EVALUATIONS = 2_000
"""The most evaluations in one answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What the database has about a job, in one state of it."""

    taken: tuple[Snapshot, ...]
    owner: Email
    role: Role
    latest: Evaluation | None
    best: Evaluation | None
    stopped_early: str
    events: tuple[JobEvent, ...]


class Detailing:
    """The use cases.

    Args:
        database: where the jobs are.
        catalog: the base models.
        clock: the time now, timezone-aware.
        staged: what a job is doing: `Staging.staged`.
        places: where waiting jobs stand.

    """

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        clock: Callable[[], datetime],
        staged: Callable[[TuningJob], StagedJob],
        places: QueuePlaces,
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._clock = clock
        self._staged = staged
        self._places = places

    def detail(self, principal: Principal, model_id: TunedModelId) -> JobDetail:
        """Everything that there is to show of a model's job.

        Raises:
            NotFound: there is no such model.
            PermissionDenied: the caller may not read it.

        """
        with self._database.read() as connection:
            tuned = load(connection, principal, model_id, Action.GET)
            found = self._read(connection, principal, tuned)
        job = tuned.job
        places = self._places.of([job] if job.state is JobState.QUEUED else [])
        return JobDetail(
            time=self._clock(),
            model=tuned.model,
            staged=self._staged(job),
            owner=found.owner,
            role=found.role,
            place=places.get(job.id),
            last_report=found.taken[-1].compute_time if found.taken else None,
            lowest=min(found.taken, key=lambda each: (each.mean_loss, each.step), default=None),
            latest=found.latest,
            best=found.best,
            stopped_early=found.stopped_early,
            failure=failure_of(job, job.error) if job.state is JobState.FAILED and job.error else None,
            findings=findings_of(self._database, job.id),
            events=found.events,
            settings=settings_used(job, self._catalog.find(job.base_model, job.resolved_base)),
        )

    def series(
        self, principal: Principal, model_id: TunedModelId, *, after_step: int = 0, after_validation_step: int = -1
    ) -> LossSeries:
        """The losses of a model's job after these steps; those of long jobs thinned as everywhere.

        Raises:
            NotFound: there is no such model.
            PermissionDenied: the caller may not read it.

        """
        most = MOST_EVALUATIONS
        with self._database.read() as connection:
            job = load(connection, principal, model_id, Action.GET).job
            taken = snapshots_of(connection, job, after_step=after_step)
            evaluated = evaluations.evaluations_of(connection, job.id, after_step=after_validation_step, most=most + 1)
            restarts = job_events.restarts_of(connection, job.id)
        every = SnapshotGrid.of(job.total_steps).every
        more = len(evaluated) > most
        return LossSeries(
            job=job, every=every, restarts=restarts, training=taken, validation=evaluated[:most], more=more
        )

    def _read(self, connection: Transaction, principal: Principal, tuned: Tuned) -> _Read:
        model, job = tuned.model, tuned.job
        taken = snapshots_of(connection, job)
        role = role_of(principal, access.permissions_for(connection, model.id, principal), model.reader_project_numbers)
        assert role is not None  # noqa: S101 - as `load` has checked
        times = {each.step: each.compute_time for each in taken}
        return _Read(
            taken=taken,
            owner=Email(tuning_jobs.tenants_of(connection, [job.id])[job.id].owner),
            role=role,
            latest=evaluations.latest_evaluation(connection, job.id),
            best=evaluations.best_evaluation(connection, job.id),
            stopped_early=conclusion.why_early(connection, job) if job.state is JobState.SUCCEEDED else "",
            events=events_of(
                job,
                job_events.transitions_of(connection, job.id, _MOST_EVENTS),
                checkpoints.checkpoints_of(connection, job.id),
                times,
            ),
        )
