"""The tuned model of each job, for the log, where people know models by name and no jobs."""

from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.domain.tuning_job import JobId
from tuningfork.store import tuning_jobs
from tuningfork.store.database import Database

_MOST = 1_000


class JobNames:
    """Finds and remembers the ids of jobs' models. May be called from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[JobId, TunedModelId] = {}

    def remember(self, job_id: JobId, model_id: TunedModelId) -> None:
        """Remember the model of a job."""
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[job_id] = model_id

    def labels(self, action: str, job_id: JobId) -> dict[str, str]:
        """What a record of the log about a job has beside its message."""
        return {"action": action, "job": job_id, "model": self.model_of(job_id)}

    def model_of(self, job_id: JobId) -> str:
        """The id of the job's model. "": the database has no such job, or cannot be read."""
        if job_id not in self._known:
            try:
                with self._database.read() as connection:
                    job = tuning_jobs.find(connection, job_id)
            except Exception:  # noqa: BLE001 - what is logged may be that the database cannot be read
                return ""
            if job is None:
                return ""
            self.remember(job_id, job.model_id)
        return self._known.get(job_id, "")
