"""The references of jobs' artifacts, which are the same wherever they are stored."""

from collections.abc import Iterator

from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.tuning_job import JobId

DATASETS = "datasets"
KINDS = (DATASETS, "work", "checkpoints", "adapters")
"""The directories with files of jobs, and the first parts of their references."""

_SOURCE = "source"


class JobRefs:
    """Names the artifacts of jobs, whether or not they exist."""

    def dataset(self, job_id: JobId) -> ArtifactRef:
        """The job's examples."""
        return ArtifactRef(f"datasets/{job_id}.jsonl")

    def validation(self, job_id: JobId) -> ArtifactRef:
        """The job's validation set, if it has one."""
        return ArtifactRef(f"datasets/{job_id}.validation.jsonl")

    def work(self, job_id: JobId) -> ArtifactRef:
        """The reference below which the job's trainer writes."""
        return ArtifactRef(f"work/{job_id}")

    def source(self, job_id: JobId) -> ArtifactRef:
        """The adapter that the job starts from, if there is one."""
        return self.work(job_id).below(_SOURCE)

    def adapter(self, job_id: JobId) -> ArtifactRef:
        """The job's adapter, once it is finished."""
        return ArtifactRef(f"adapters/{job_id}")

    def checkpoints(self, job_id: JobId) -> ArtifactRef:
        """The reference below which the job's checkpoints are."""
        return ArtifactRef(f"checkpoints/{job_id}")

    def checkpoint(self, job_id: JobId, step: int, claim_number: int) -> ArtifactRef:
        """The checkpoint of this step, written by the server that holds this claim on the job.

        Its name contains the claim number, so that a server that has lost the job never overwrites the files of the
        server that took it over.
        """
        return self.checkpoints(job_id).below(f"{step:08}-{claim_number}")

    def data(self, job_id: JobId) -> tuple[ArtifactRef, ArtifactRef]:
        """The job's examples and its validation set."""
        return self.dataset(job_id), self.validation(job_id)

    def all(self, job_id: JobId) -> Iterator[ArtifactRef]:
        """Everything that a job may have."""
        yield from self.data(job_id)
        yield from (self.work(job_id), self.checkpoints(job_id), self.adapter(job_id))
