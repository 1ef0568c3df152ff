"""Tells what jobs are doing, more closely than their states."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tuningfork.domain.data_statistics import cost_of
from tuningfork.domain.job_stage import Beginning, JobStage, StagedJob
from tuningfork.domain.permission import Principal
from tuningfork.domain.server_paths import without_directories
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.domain.tuning_job import JobId, JobState, TuningJob
from tuningfork.execution.base import Trainers
from tuningfork.service.paging import Page
from tuningfork.service.tuning.speeds import Speeds
from tuningfork.service.tuning.tuned import Tuned


class Staging:
    """The use case of stages. What is known beyond the database is of the jobs on this server's trainers.

    `one` and `many` find the models that a caller may read: `Tuning.get` and `Tuning.list`. `price`: what a million
    trained tokens cost, for jobs whose tokens were counted; None: no costs are told. `waits_for`: what keeps a job from
    being prepared, see `Preparing.waits_for`. `lacks_base_of`: why this server cannot train a job, as the rest of a
    sentence; "": it can.
    """

    def __init__(
        self,
        trainers: Trainers,
        speeds: Speeds,
        one: Callable[..., Tuned],
        many: Callable[..., Page[Tuned]],
        *,
        price: float | None = None,
        waits_for: Callable[[JobId], str] = lambda _: "",
        lacks_base_of: Callable[[TuningJob], str] = lambda _: "",
    ) -> None:
        self._waits_for = waits_for
        self._lacks_base_of = lacks_base_of
        self._price = price
        self._trainers = trainers
        self._speeds = speeds
        self._one = one
        self._many = many

    def of(self, principal: Principal, model_id: TunedModelId) -> StagedJob:
        """The stage of a model's job.

        Raises:
            NotFound: there is no such model.
            PermissionDenied: the caller may not read it.

        """
        return self.staged(self._one(principal, model_id, snapshots=False).job)

    def staged(self, job: TuningJob) -> StagedJob:
        """The stage of a job that the caller may read."""
        return self._priced(self._staged(job, self._trainers.beginnings()))

    def all_staged(self, jobs: Sequence[TuningJob]) -> tuple[StagedJob, ...]:
        """The stages of jobs that the caller may read, in their order."""
        begun = self._trainers.beginnings()
        return tuple(self._priced(self._staged(job, begun)) for job in jobs)

    def list(self, principal: Principal, *, page_size: int | None = None, page_token: str = "") -> Page[StagedJob]:
        """The jobs that have not ended among those of the models of a page of `Tuning.list`.

        Raises:
            InvalidArgument: the size or the token is wrong.

        """
        page = self._many(principal, page_size=page_size, page_token=page_token, snapshots=False)
        unended = [each.job for each in page.items if not each.job.state.is_final]
        return Page(self.all_staged(unended), page.next_page_token)

    def _priced(self, staged: StagedJob) -> StagedJob:
        """The stage with about what the whole job costs, if there is a price and the job's tokens were counted."""
        counted = staged.job.data_statistics
        if self._price is None or counted is None:
            return staged
        cost = cost_of(counted.billable_tokens, staged.job.hyperparameters.epoch_count, self._price)
        return replace(staged, cost=cost)

    def _staged(self, job: TuningJob, begun: Mapping[JobId, Beginning]) -> StagedJob:
        if job.state.is_final:
            return StagedJob(job=job, stage=JobStage.ENDED)
        if job.state is JobState.PREPARING:
            return self._preparing(job)
        if job.state is JobState.QUEUED:
            return self._queued(job)
        beginning = begun.get(job.id)
        if beginning is None:
            seconds_left = self._speeds.seconds_left(job.id, job.total_steps - job.completed_steps)
            return StagedJob(job=job, stage=JobStage.TRAINING, seconds_left=seconds_left)
        if beginning.held_up_by:
            told = replace(beginning, held_up_by=without_directories(beginning.held_up_by))
            return StagedJob(job=job, stage=JobStage.HELD_UP, beginning=told)
        stage = JobStage.STARTING if beginning.base is None else JobStage.LOADING_BASE
        return StagedJob(job=job, stage=stage, beginning=beginning)

    def _queued(self, job: TuningJob) -> StagedJob:
        if held_up_by := self._lacks_base_of(job):
            told = Beginning(held_up_by=without_directories(held_up_by))
            return StagedJob(job=job, stage=JobStage.HELD_UP, beginning=told)
        return StagedJob(job=job, stage=JobStage.QUEUED)

    def _preparing(self, job: TuningJob) -> StagedJob:
        if held_up_by := self._waits_for(job.id):
            return StagedJob(job=job, stage=JobStage.HELD_UP, beginning=Beginning(held_up_by=held_up_by))
        return StagedJob(job=job, stage=JobStage.PREPARING)
