"""Weights that a tuning job left at some step, and that can be called."""

from collections.abc import Mapping
from dataclasses import dataclass

from tuningfork.domain.ids import number_of
from tuningfork.domain.tuning_job import JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The weights of one job after `step` steps.

    A job may have several checkpoints, numbered from 1 in the order in which they were kept. A tuned model answers with
    one of them, its default.
    """

    job_id: JobId
    number: int
    step: int
    epoch: int
    """How many epochs were completed at this step."""
    artifact: str
    """The name of the adapter among the server's artifacts."""
    metrics: Mapping[str, float]
    """What was measured at this step, such as `mean_loss` in nats per trained token."""
    has_endpoint: bool = True
    """Whether its endpoint exists, in dialects that have them. It can be called as its model's checkpoint anyway."""
    is_deployed: bool = True
    """Whether its endpoint answers with it, if it has one."""

    @property
    def endpoint(self) -> int | None:
        """The number of its endpoint; None: somebody deleted it.

        A job that resumes keeps its checkpoints under the same numbers again, and so at the same endpoints.
        """
        return endpoint_number(self.job_id, self.number) if self.has_endpoint else None

    @property
    def answers_at(self) -> int | None:
        """The number of the endpoint at which it can be called; None: at none."""
        return self.endpoint if self.is_deployed else None


def endpoint_number(job_id: JobId, number: int) -> int:
    """The number of the endpoint of this checkpoint of a job."""
    return number_of("endpoint", job_id, str(number))
