"""Which artifacts the rows of a database need, and which of them a data directory lacks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum

from sqlalchemy import Connection, select

from tuningfork.artifacts.base import ArtifactDamaged, ArtifactMissing
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.tuned_model import ModelState, TunedModelId
from tuningfork.domain.tuning_job import JobId, JobState
from tuningfork.store import training_options
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.leases import ServerId
from tuningfork.store.schema import checkpoints, tuned_models, tuning_jobs
from tuningfork.store.tuning_jobs import QueuedJob


class Need(StrEnum):
    """What a model needs an artifact for."""

    EXAMPLES = "examples"
    VALIDATION = "validation set"
    WEIGHTS = "weights"
    CHECKPOINT = "weights of a checkpoint"
    SOURCE = "adapter that its training goes on from"


class Looking(Enum):
    """How closely artifacts are looked at, to find out whether they are whole."""

    AT_NAMES = "names"
    AT_SIZES = "sizes"
    AT_DIGESTS = "digests"


@dataclass(frozen=True, slots=True, kw_only=True)
class Required:
    """An artifact that a row needs. `server` is the server that last ran the job; None: no server has."""

    model_id: TunedModelId
    job_id: JobId
    server: ServerId | None
    need: Need
    ref: ArtifactRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """An artifact that a row needs and that is missing or damaged. `missing`: it does not exist."""

    model_id: TunedModelId
    need: Need
    missing: bool

    @property
    def line(self) -> str:
        """A line of text with the model's id, and what is missing or damaged."""
        return f"{self.model_id}\t{self.need}: {'missing' if self.missing else 'damaged'}"


def required(connection: Connection, artifacts: Artifacts) -> Iterator[Required]:
    """Every artifact that the rows need, model by model.

    Savepoints are not needed: a job without its savepoint starts from the beginning, and gets the same adapter.
    """
    kept: dict[str, list[tuple[int, str]]] = {}
    for row in connection.execute(select(checkpoints.c.job_id, checkpoints.c.number, checkpoints.c.artifact)):
        kept.setdefault(row.job_id, []).append((row.number, row.artifact))
    models = tuned_models.c
    query = (
        select(tuning_jobs, models.state.label("model_state"), models.source, models.default_checkpoint)
        .join(tuned_models, models.id == tuning_jobs.c.model_id)
        .order_by(models.create_time, models.id)
    )
    for row in connection.execute(query):
        job_id, own = JobId(row.id), kept.get(row.id, [])
        needs = []
        if training_options.is_prepared(row.training_options):
            needs.append((Need.EXAMPLES, artifacts.dataset(job_id)))
        if training_options.validation_count_in(row.training_options):
            needs.append((Need.VALIDATION, artifacts.validation(job_id)))
        if row.source is not None and not JobState(row.state).is_final:
            needs.append((Need.SOURCE, artifacts.source(job_id)))
        if row.model_state == ModelState.ACTIVE and not any(number == row.default_checkpoint for number, _ in own):
            needs.append((Need.WEIGHTS, artifacts.adapter(job_id)))
        for number, artifact in own:
            need = Need.WEIGHTS if number == row.default_checkpoint else Need.CHECKPOINT
            needs.append((need, ArtifactRef(artifact)))
        for need, ref in needs:
            yield Required(model_id=TunedModelId(row.model_id), job_id=job_id, server=row.held_by, need=need, ref=ref)


def missing_for_training(artifacts: Artifacts, job: QueuedJob) -> list[Need]:
    """What a queued job needs and the data directory does not have, as that of another server may; [] if nothing."""
    needs = [(Need.EXAMPLES, artifacts.dataset(job.id))]
    if job.has_validation:
        needs.append((Need.VALIDATION, artifacts.validation(job.id)))
    if job.has_source:
        needs.append((Need.SOURCE, artifacts.source(job.id)))
    return [need for need, ref in needs if not artifacts.store.has(ref)]


def has_some_files(artifacts: Artifacts, job_id: JobId) -> bool:
    """Whether the data directory has any of a job's files. If not, another server has them, or they are all lost."""
    refs = (artifacts.dataset(job_id), artifacts.validation(job_id), artifacts.source(job_id))
    return any(map(artifacts.store.has, refs)) or artifacts.store.path(artifacts.work(job_id)).is_dir()


def required_here(connection: Connection, artifacts: Artifacts, server: ServerId | None) -> Iterator[Required]:
    """The artifacts that the rows need in this server's data directory.

    A job that another server has run, and that has no files here, is left out: its files are in that server's data
    directory.
    """
    here = artifacts.job_ids()
    return (each for each in required(connection, artifacts) if each.job_id in here or each.server in (None, server))


def lacking(needed: Iterable[Required], artifacts: Artifacts, *, looking: Looking = Looking.AT_SIZES) -> list[Lacking]:
    """Those of these artifacts that are missing or damaged in the directory."""
    found = []
    for each in needed:
        try:
            _look(artifacts, each.ref, looking)
        except ArtifactMissing:
            found.append(Lacking(model_id=each.model_id, need=each.need, missing=True))
        except ArtifactDamaged:
            found.append(Lacking(model_id=each.model_id, need=each.need, missing=False))
    return found


def _look(artifacts: Artifacts, ref: ArtifactRef, looking: Looking) -> None:
    if looking is Looking.AT_DIGESTS:
        artifacts.store.verify(ref)
    elif looking is Looking.AT_SIZES:
        with artifacts.store.reading(ref):
            pass
    elif not artifacts.store.has(ref):
        raise ArtifactMissing(ref)
