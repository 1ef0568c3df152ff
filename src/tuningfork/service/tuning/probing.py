"""The use cases of probe prompts: what is to be asked next, recording answers, and showing them."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from tuningfork.domain.permission import Action, Email, Principal
from tuningfork.domain.probe_prompts import ProbeAnswer, ShownProbes
from tuningfork.domain.references import BaseRef, CheckpointRef, ModelRef, TunedRef
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.domain.tuning_job import JobId
from tuningfork.service.tuning.tuned import Tuned, load
from tuningfork.store import checkpoints, probe_prompts, tuned_models, tuning_jobs
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database, Transaction

_MOST_JOBS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A prompt of a job that is to be asked: whom, and on whose behalf. `step` 0: before the training."""

    job_id: JobId
    number: int
    prompt: str
    step: int
    epoch: int
    asked: ModelRef
    principal: Principal

    @property
    def key(self) -> tuple[JobId, int, int]:
        """What distinguishes it from others."""
        return self.job_id, self.number, self.step


class Probing:
    """Says what is to be asked, and keeps answers.

    A job's prompts are asked by the server that has its files. What is recorded is not asked again, so nothing is lost
    or asked twice if a server ends: the next one goes on with what is missing.

    Args:
        database: where jobs, checkpoints, prompts and answers are.
        artifacts: the files of this server.
        clock: the time now, timezone-aware.

    """

    def __init__(self, database: Database, artifacts: Artifacts, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._artifacts = artifacts
        self.clock = clock

    def questions(self, besides: Collection[JobId] = ()) -> tuple[Question, ...]:
        """The next question of each job that has any, besides these jobs. Jobs that need no more are closed."""
        found, done = [], []
        with self._database.read() as connection:
            for job_id in probe_prompts.open_jobs(connection, _MOST_JOBS):
                if job_id in besides or not self._artifacts.holds(job_id):
                    continue
                question, is_done = _next(connection, job_id)
                if question is not None:
                    found.append(question)
                elif is_done:
                    done.append(job_id)
        for job_id in done:
            with self._database.write() as connection:
                probe_prompts.close(connection, job_id)
        return tuple(found)

    def record(self, question: Question, answer: ProbeAnswer) -> None:
        """Keep an answer; does nothing if the job was deleted meanwhile."""
        with self._database.write() as connection:
            probe_prompts.record(connection, question.job_id, answer)

    def shown(self, principal: Principal, model_id: TunedModelId) -> ShownProbes | None:
        """The prompts of a model's job and the answers so far; None: it has no prompts.

        Raises:
            NotFound: there is no such model.
            PermissionDenied: the caller may not read it.

        """
        with self._database.read() as connection:
            tuned = load(connection, principal, model_id, Action.GET)
            probes = probe_prompts.find(connection, tuned.job.id)
        return None if probes is None else ShownProbes(before=_before(tuned), probes=probes)


def _before(tuned: Tuned) -> ModelRef:
    """The model with which the training begins."""
    return BaseRef(tuned.model.base_model) if tuned.model.source is None else TunedRef(tuned.model.source)


def _next(connection: Transaction, job_id: JobId) -> tuple[Question | None, bool]:
    """The first prompt of a job that is to be asked, None if there is none; and whether there never will be one."""
    job, probes = tuning_jobs.find(connection, job_id), probe_prompts.find(connection, job_id)
    model = None if job is None else tuned_models.find(connection, job.model_id)
    owner = tuning_jobs.tenants_of(connection, [job_id])[job_id].owner if job is not None else ""
    if job is None or probes is None or model is None or not owner:
        return None, True
    tuned = Tuned(model=model, job=job)
    kept = checkpoints.checkpoints_of(connection, job_id)
    places: list[tuple[int, int, ModelRef]] = [(0, 0, _before(tuned))]
    places += [(each.step, each.epoch, CheckpointRef(model.id, each.number)) for each in kept if each.step > 0]
    answered = {(each.step, each.number) for each in probes.answers}
    for step, epoch, asked in places:
        for number, prompt in enumerate(probes.prompts, start=1):
            if (step, number) not in answered:
                # Tokens count against the budget of the credential that asked for the job.
                principal = Principal(email=Email(owner), project=job.project, credential=job.created_by)
                return (
                    Question(
                        job_id=job_id,
                        number=number,
                        prompt=prompt,
                        step=step,
                        epoch=epoch,
                        asked=asked,
                        principal=principal,
                    ),
                    False,
                )
    return None, job.state.is_final
