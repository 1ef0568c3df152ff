"""Weights that a tuning job left at some step, and that can be called."""

from collections.abc import Mapping
from dataclasses import dataclass

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
