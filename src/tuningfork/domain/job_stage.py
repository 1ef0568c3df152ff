"""What a tuning job is doing, more closely than its state tells."""

from dataclasses import dataclass
from enum import StrEnum

from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.tuning_job import TuningJob


class JobStage(StrEnum):
    """The stage of a job."""

    PREPARING = "PREPARING"
    """Its examples wait to be read from a bucket, or are being read."""
    QUEUED = "QUEUED"
    """It waits for its turn."""
    STARTING = "STARTING"
    """It has been given to a trainer, which has not taken it up yet: the trainer starts, or does something else."""
    LOADING_BASE = "LOADING_BASE"
    """The trainer loads the base model that the job needs."""
    HELD_UP = "HELD_UP"
    """The trainer cannot take the job up at the moment, for lack of memory for example, and tries again; or its
    examples cannot be read at the moment, for lack of its base for example."""
    TRAINING = "TRAINING"
    """The trainer has taken it up. So says a server that knows no more, since another server has the job."""
    ENDED = "ENDED"
    """It has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """A job that a trainer has been given and has not taken up yet, or whose examples cannot be read at the moment.

    Attributes:
        base: the base that the trainer loads now, on which the job waits; None: it loads none, or does not run yet.
        seconds: for how long it has loaded the base.
        usual_seconds: how long loading this base has taken the last time; None: that is not known.
        held_up_by: why the job cannot be taken up at the moment, as "memory is short"; "": it is not held up.

    """

    base: BaseModelName | None = None
    seconds: float = 0.0
    usual_seconds: float | None = None
    held_up_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedJob:
    """A job and its stage.

    `beginning` has more about a job that is not taken up yet; None: there is nothing. `seconds_left` is about how long
    a job that is being trained takes for the rest of its steps; None: that is not known yet. `cost` is about what all
    its steps cost, in the operator's currency; None: that is not known.
    """

    job: TuningJob
    stage: JobStage
    beginning: Beginning | None = None
    seconds_left: float | None = None
    cost: float | None = None
