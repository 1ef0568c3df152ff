"""How many tuning jobs a project may have at a time, in all of its locations together."""

from collections.abc import Collection
from dataclasses import dataclass

from tuningfork.domain.refusals import ProjectQuotaExceeded
from tuningfork.domain.tuning_job import JobId
from tuningfork.store import project_jobs
from tuningfork.store.database import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectQuota:
    """The most jobs of one project; None: any number. Further ones wait, or with `rejects` are refused."""

    most: int | None = None
    rejects: bool = False

    def check(self, connection: Transaction, project: str) -> None:
        """Check that a project may have one more job.

        Raises:
            ProjectQuotaExceeded: it has as many as it may have, and further ones do not wait.

        """
        if self.rejects and self.most is not None and project_jobs.count_unfinished(connection, project) >= self.most:
            raise ProjectQuotaExceeded(self.most)

    def has_place(self, connection: Transaction, project: str) -> bool:
        """Whether a job of the project may start. Other transactions that ask about it wait until this one ends."""
        return self.most is None or project_jobs.count_running_of(connection, project) < self.most

    def is_full(self, connection: Transaction, project: str) -> bool:
        """Whether a project has as many jobs in training as it may have."""
        return self.most is not None and project_jobs.count_running(connection).get(project, 0) >= self.most

    def waiting(self, connection: Transaction, job_ids: Collection[JobId]) -> set[JobId]:
        """Those of these queued jobs that wait since their project has as many jobs in training as it may have."""
        if self.most is None or not job_ids:
            return set()
        running = project_jobs.count_running(connection)
        projects = project_jobs.projects_of(connection, job_ids)
        return {job_id for job_id, project in projects.items() if running.get(project, 0) >= self.most}


UNLIMITED_PROJECTS = ProjectQuota()
