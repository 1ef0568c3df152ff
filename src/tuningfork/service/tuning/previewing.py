"""Previews of tunings: checks a request like a create request and renders its examples, without storing anything."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial

from tuningfork.domain.base_model import BaseModel
from tuningfork.domain.dataset import Examples, characters_of
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.permission import Principal
from tuningfork.domain.preview import DatasetPreview, TuningPreview, joined
from tuningfork.domain.tuning_job import TuningJob, TuningRequest
from tuningfork.execution.base import Generators, ProbeAssignment, StepTimes, Trainers, WorkerDied
from tuningfork.service.metrics import Metrics
from tuningfork.service.tuning.intake import learned_from
from tuningfork.service.tuning.speeds import Speeds, StepKind
from tuningfork.service.tuning.tuning import Tuning

# The most examples that the generator renders at once, in a tenth of a second. Between two parts it serves other
# requests.
PART_EXAMPLES = 256
PART_CHARACTERS = 100_000

MOST_PROBED = 256
"""How many examples a probe of the time of steps has at most."""

PROBE_PATIENCE_SECONDS = 60.0
"""How long a preview waits for a probe at most; then it is told without the time of steps."""


class Previewing:
    """The use case of previews. Belongs to one event loop, as the generators' async methods do.

    `patience_seconds`: how long a preview waits for a probe at most. `price`: what a million trained tokens cost; None:
    no costs are told.
    """

    def __init__(
        self,
        tuning: Tuning,
        generators: Generators,
        trainers: Trainers,
        metrics: Metrics,
        speeds: Speeds,
        *,
        patience_seconds: float = PROBE_PATIENCE_SECONDS,
        price: float | None = None,
    ) -> None:
        self._price = price
        self._tuning = tuning
        self._generators = generators
        self._trainers = trainers
        self._metrics = metrics
        self._speeds = speeds
        self._patience_seconds = patience_seconds
        self._probing: tuple[StepKind, Future[StepTimes | None]] | None = None

    async def preview(self, principal: Principal, request: TuningRequest, shown: int) -> TuningPreview:
        """The job that `Tuning.create` would make for this request, with its first `shown` examples as tokens.

        Raises:
            InvalidArgument: everything that is wrong with the request, as in `Tuning.create`.
            NotFound: there is no such base model or tuned model.
            PermissionDenied: the caller may not tune on that tuned model.
            FailedPrecondition: that tuned model is not ACTIVE.
            Unavailable: the generator died twice; the same request may succeed later.

        """
        tuned, base, answers = await asyncio.to_thread(self._tuning.check, principal, request)
        examples = await asyncio.to_thread(learned_from, request)
        parts = [
            (first, await self._part(principal, base, part, max(0, shown - first)))
            for first, part in parts_of(examples)
        ]
        dataset = joined(parts)
        return TuningPreview(
            base_model=tuned.model.base_model,
            hyperparameters=tuned.job.hyperparameters,
            total_steps=tuned.job.total_steps,
            example_count=tuned.job.example_count,
            validation_count=tuned.job.validation_count,
            dataset=dataset,
            adapter=tuned.job.adapter,
            temperature=tuned.model.temperature,
            answers=answers,
            tokens_per_second=await self._tokens_per_second(base, tuned.job, examples, dataset),
            price=self._price,
        )

    async def _tokens_per_second(
        self, base: BaseModel, job: TuningJob, examples: Examples, dataset: DatasetPreview
    ) -> float | None:
        """How fast such steps are, by the last jobs or by a probe; None if neither can tell.

        The last jobs tell it if they made such steps. Otherwise a probe does, if a trainer can make one now. Otherwise
        the last jobs' steps of another size do.
        """
        used, speeds = job.hyperparameters, self._speeds
        step_tokens = dataset.total_tokens / job.example_count * used.batch_size
        objective = type(used.objective)
        known = speeds.tokens_per_second(base.name, objective=objective, like=step_tokens)
        if known is None:
            kind = StepKind.of(base.name, used, rank=job.adapter.rank, step_tokens=step_tokens)
            if not speeds.is_probed(kind):
                await self._probe(base, job, examples, kind)
            known = speeds.probed_tokens_per_second(kind)
        return speeds.tokens_per_second(base.name, objective=objective) if known is None else known

    async def _probe(self, base: BaseModel, job: TuningJob, examples: Examples, kind: StepKind) -> None:
        """Have such steps measured, over examples from all of the dataset, and wait until the result is remembered.

        Previews of the same kind wait for one probe. While a probe of another kind is made, nothing is measured. A
        probe goes on, and its result is remembered, even if nobody waits for it any more.
        """
        if self._probing is None or self._probing[1].done():
            every = -(-len(examples) // MOST_PROBED)
            assignment = ProbeAssignment(
                base=base, examples=examples[::every], hyperparameters=job.hyperparameters, adapter=job.adapter
            )
            times = self._trainers.probe(assignment)
            # Added first, so it is called before the preview goes on.
            times.add_done_callback(partial(self._probed, kind))
            self._probing = kind, times
        measured, times = self._probing
        if measured == kind:
            with suppress(WorkerDied, TimeoutError):
                await asyncio.wait_for(asyncio.wrap_future(times), self._patience_seconds)

    def _probed(self, kind: StepKind, result: Future[StepTimes | None]) -> None:
        """Remember what a probe has measured, unless it was not made. May be called on any thread."""
        if result.exception() is not None:
            self._metrics.worker_deaths.labels("trainer").inc()
            self._speeds.probed(kind, StepTimes())
        elif (times := result.result()) is not None:
            self._speeds.probed(kind, times)

    async def _part(self, principal: Principal, base: BaseModel, examples: Examples, shown: int) -> DatasetPreview:
        try:
            return await self._generators.preview(base, examples, shown, owner=principal.email)
        except WorkerDied:
            self._metrics.worker_deaths.labels("generator").inc()
            return await self._generators.preview(base, examples, shown, owner=principal.email)
        except InvalidArgument as error:
            # The model's template refuses an example. The generator does not know the path of the example's field.
            raise InvalidArgument(error.message) from error


def parts_of(examples: Examples) -> Iterator[tuple[int, Examples]]:
    """Cut the dataset into parts, each with the index of its first example. A long example is a part of its own."""
    first = characters = 0
    for index, example in enumerate(examples):
        length = characters_of(example)
        if index > first and (index - first >= PART_EXAMPLES or characters + length > PART_CHARACTERS):
            yield first, examples[first:index]
            first, characters = index, 0
        characters += length
    yield first, examples[first:]
