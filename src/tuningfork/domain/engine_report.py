"""What the engines of a server hold and do, for whoever runs the server."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.operations import DiskUse, WorkOfMinute
from tuningfork.domain.permission import Email
from tuningfork.domain.tuned_model import TunedModelId


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInTraining:
    """A job that a trainer has. `owner` is "" if nobody owns its model."""

    model_id: TunedModelId
    base: BaseModelName
    owner: Email
    completed_steps: int
    total_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidentAdapter:
    """An adapter in the generator's memory. `model_id` None: its model was deleted. `pinned`: it stays while unused."""

    model_id: TunedModelId | None
    size_bytes: int
    pinned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnersJobs:
    """How many jobs of one owner wait, also to be prepared, and how many are in training."""

    owner: Email
    waiting: int
    running: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCount:
    """How many requests of the last day to one endpoint were answered with this HTTP status, 400 or more.

    `endpoint` is the name by which the metrics count them. `last_time` and `last_request_id` are those of the last one.
    """

    status: int
    endpoint: str
    count: int
    last_time: datetime
    last_request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineReport:
    """The engines of one server.

    Attributes:
        memory: the resident memory of the server's processes in bytes, by role, such as `trainer`.
        jobs: the jobs in training, of all servers on the database.
        speeds: trained tokens a second over each base, as measured from the last steps on this server.
        adapters: the adapters in the generator's memory.
        refused_bases: the bases that the generator cannot use, and why.
        prompt_tokens: read by the generator since the server started, in thousands.
        output_tokens: generated since the server started, in thousands.
        owners: the owners with jobs that wait or are in training, those with the most first.
        errors: the refusals of the last day, by status and endpoint; at most since the server started.
        minutes: what was done in each of the last sixty minutes in which something was, the current one last.
        disk: what the server keeps on its disk.

    """

    memory: Mapping[str, int]
    jobs: tuple[JobInTraining, ...]
    speeds: Mapping[BaseModelName, float]
    adapters: tuple[ResidentAdapter, ...]
    refused_bases: Mapping[BaseModelName, str]
    prompt_tokens: int
    output_tokens: int
    owners: tuple[OwnersJobs, ...]
    errors: tuple[ErrorCount, ...]
    minutes: tuple[WorkOfMinute, ...]
    disk: DiskUse
