"""Which waiting jobs this server's trainer may take up, and in which order."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from tuningfork.domain.base_model import Catalog
from tuningfork.domain.tuning_job import JobId, TuningJob
from tuningfork.domain.turns import (
    LEAST_SECONDS,
    InTraining,
    LastTurns,
    Tenant,
    Turn,
    in_turn,
    making_room,
    turn_beside_suspects,
)
from tuningfork.service.tuning.project_quota import UNLIMITED_PROJECTS, ProjectQuota
from tuningfork.store import suspects, tuning_jobs
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database
from tuningfork.store.required_files import Need, has_some_files, missing_for_training
from tuningfork.store.tuning_jobs import QueuedJob

_CANDIDATES = 50
"""How many waiting jobs one claim looks at; several servers that claim at a time each take another one."""


@dataclass(frozen=True, slots=True)
class Queue:
    """The jobs that wait for their turn on a server, and those in training.

    Attributes:
        positions: the place of each waiting job that the server can train, from 1, in the order in which it takes them
            up if nothing changes.
        waiting_count: how many jobs wait, also to be prepared, and also those that the server cannot train.
        running: the jobs in training, on all servers, each with how many steps it has left.

    """

    positions: Mapping[JobId, int]
    waiting_count: int
    running: Mapping[JobId, int]


class Turns:
    """Reads the queue for one server. `catalog` are its base models; jobs of those with a fault wait.

    So do jobs of a project that has as many in training as `project_quota` allows.

    Attributes:
        least_seconds: how long a job is in training at least before it makes room for another owner's.

    """

    def __init__(
        self,
        database: Database,
        artifacts: Artifacts,
        catalog: Catalog,
        project_quota: ProjectQuota = UNLIMITED_PROJECTS,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._catalog = catalog
        self._project_quota = project_quota
        # A job that is claimed for a base that cannot be loaded fails, and with it all its steps are lost.
        whole = [model for model in catalog.public_models() if not model.base.fault]
        own_names = [model.name for model in whole if model.name == model.base.name]
        # The own names and the aliases of the bases that this server can use.
        self._served = own_names, [model.name for model in whole if model.name != model.base.name]
        self.least_seconds = LEAST_SECONDS
        self._last_turns = LastTurns()
        # The waiting jobs that were found without some of their files, and those of them that were told.
        self._lacking: dict[JobId, list[Need]] = {}
        self._told: set[JobId] = set()

    def turn(self, running: Mapping[JobId, float], places: int) -> Turn:
        """What the trainer should do now that has places for so many jobs.

        A job waits for another server if this one lacks its examples, its validation set, or the adapter that it goes
        on from.

        Args:
            running: the jobs that it has, and for how many seconds each.
            places: the most jobs that it may have.

        """
        with self._database.read() as connection:
            suspected = suspects.queued(connection, *self._served)
            suspects_running = suspects.among(connection, running)
            waiting = {job.id: job for job in tuning_jobs.queued_of_owners(connection, *self._served)}
            tenants = tuning_jobs.tenants_of(connection, running)
            over_quota = self._project_quota.waiting(connection, waiting)
        self._lacking = {job_id: missing for job_id, missing in self._lacking.items() if job_id in waiting}
        here = self._here(waiting, (job_id for job_id in suspected if job_id not in over_quota.union(running)))
        if (turn := turn_beside_suspects(running, suspects_running, here)) is not None:
            return turn
        elsewhere = {*running, *suspected}
        in_training = [
            InTraining(job_id=job_id, tenant=tenants.get(job_id, Tenant()), seconds=seconds)
            for job_id, seconds in running.items()
        ]
        free = [(job.id, job.tenant) for job in waiting.values() if job.id not in elsewhere | over_quota]
        candidates = in_turn(free, [each.tenant for each in in_training], self._last_turns)
        if len(running) < places:
            return Turn(next=tuple(self._here(waiting, (job_id for job_id, _ in candidates))))
        following = next((tenant for job_id, tenant in candidates if self._has_files(waiting[job_id])), None)
        leaving = None if following is None else making_room(in_training, following, least_seconds=self.least_seconds)
        return Turn() if leaving is None else Turn(pause=frozenset({leaving}))

    def queue(self) -> Queue:
        """The waiting jobs in the order in which this server takes them up, if nothing changes."""
        with self._database.read() as connection:
            suspected = suspects.queued(connection, *self._served)
            waiting = tuning_jobs.queued_of_owners(connection, *self._served)
            running = tuning_jobs.steps_left_of_running(connection)
            tenants = tuning_jobs.tenants_of(connection, running)
            over_quota = self._project_quota.waiting(connection, {job.id: job for job in waiting})
            waiting_count = tuning_jobs.count_queued(connection)
        free = [(job.id, job.tenant) for job in waiting if job.id not in over_quota.union(suspected)]
        ordered = [job_id for job_id, _ in in_turn(free, [*tenants.values()], self._last_turns)]
        first = [job_id for job_id in suspected if job_id not in over_quota]
        order = [*first, *ordered, *(job.id for job in waiting if job.id in over_quota)]
        return Queue({job_id: place for place, job_id in enumerate(order, 1)}, waiting_count, running)

    def taken(self, job_id: JobId) -> str:
        """Note that this server has taken the job up, so that others have the next turns; returns its owner."""
        with self._database.read() as connection:
            tenant = tuning_jobs.tenants_of(connection, [job_id]).get(job_id, Tenant())
        self._last_turns.taken(tenant)
        return tenant.owner

    def stranded(self) -> list[TuningJob]:
        """The waiting jobs whose base model this server cannot use, the oldest first, without their snapshots."""
        with self._database.read() as connection:
            return tuning_jobs.queued_without(connection, *self._served)

    def why_not_here(self, job: TuningJob) -> str:
        """Why this server does not train a waiting job, as the rest of a sentence; "": it does, or would."""
        model = self._catalog.find(job.base_model, job.resolved_base)
        return self.why_stranded(job) if model is None or model.base.fault else ""

    def why_stranded(self, job: TuningJob) -> str:
        """What a stranded job waits for and why, and what to do, as the rest of a sentence."""
        is_alias = job.resolved_base not in (None, job.base_model)
        base = f"{job.base_model} ({job.resolved_base})" if is_alias else job.base_model
        model = self._catalog.find(job.base_model, job.resolved_base)
        if model is None:
            why = "which this server does not have: start it with that base model again"
        else:
            why = f"which this server cannot use: {model.base.fault}"
        return f"waits for {base}, {why}"

    def without_data(self) -> dict[JobId, list[Need]]:
        """The waiting jobs that this server cannot train, the oldest first, each with what the server lacks."""
        with self._database.read() as connection:
            waiting = tuning_jobs.queued_of_owners(connection, *self._served)
        return {job.id: self._lacking[job.id] for job in waiting if not self._has_files(job)}

    def newly_without_data(self) -> dict[JobId, list[Need]]:
        """Those of the jobs that `turn` and `without_data` found without files that no earlier call has returned.

        A job whose files have come back is returned again if it loses them again.
        """
        found = {job_id: missing for job_id, missing in self._lacking.items() if job_id not in self._told}
        self._told = set(self._lacking)
        return found

    def has_some_files(self, job_id: JobId) -> bool:
        """Whether this server has any file of the job, so that no other server has the rest."""
        return has_some_files(self._artifacts, job_id)

    def _here(self, waiting: Mapping[JobId, QueuedJob], job_ids: Iterable[JobId]) -> list[JobId]:
        """The first of these jobs that wait and whose files this server has."""
        found = (job_id for job_id in job_ids if job_id in waiting and self._has_files(waiting[job_id]))
        return list(islice(found, _CANDIDATES))

    def _has_files(self, job: QueuedJob) -> bool:
        missing = missing_for_training(self._artifacts, job)
        if missing:
            self._lacking[job.id] = missing
        else:
            self._lacking.pop(job.id, None)
        return not missing
