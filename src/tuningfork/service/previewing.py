"""Looking at a tuning before it begins: checked as creating checks it, rendered as training renders it, not stored."""

import asyncio
from collections.abc import Iterator

from tuningfork.domain.base_model import BaseModel
from tuningfork.domain.dataset import Dataset
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.permission import Principal
from tuningfork.domain.preview import DatasetPreview, TuningPreview, joined
from tuningfork.domain.tuning_job import TuningRequest
from tuningfork.execution.base import Executor, WorkerDied
from tuningfork.service.metrics import Metrics
from tuningfork.service.tuning import Tuning

# A tenth of a second of the generator's time, which others wait for; between two parts it is theirs.
PART_EXAMPLES = 256
PART_CHARACTERS = 100_000


class Previewing:
    """The use case of previews. Belongs to one event loop, as the executor's async methods do."""

    def __init__(self, tuning: Tuning, executor: Executor, metrics: Metrics) -> None:
        self._tuning = tuning
        self._executor = executor
        self._metrics = metrics

    async def preview(self, principal: Principal, request: TuningRequest, shown: int) -> TuningPreview:
        """What `Tuning.create` would begin for this request; the first `shown` examples are shown.

        Raises:
            InvalidArgument: everything that is wrong with the request, as in creating.
            NotFound: there is no such base model or tuned model.
            PermissionDenied: the caller may not tune on that tuned model.
            FailedPrecondition: that tuned model is not ACTIVE.
            Unavailable: the generator ended twice; the same request may go through in a moment.

        """
        tuned, base = await asyncio.to_thread(self._tuning.check, principal, request)
        parts = [
            (first, await self._part(base, part, max(0, shown - first))) for first, part in _parts(request.examples)
        ]
        return TuningPreview(
            base_model=tuned.model.base_model,
            hyperparameters=tuned.job.hyperparameters,
            total_steps=tuned.job.total_steps,
            example_count=tuned.job.example_count,
            dataset=joined(parts),
        )

    async def _part(self, base: BaseModel, examples: Dataset, shown: int) -> DatasetPreview:
        try:
            return await self._executor.preview(base, examples, shown)
        except WorkerDied:
            self._metrics.worker_deaths.labels("generator").inc()
            return await self._executor.preview(base, examples, shown)
        except InvalidArgument as error:
            # The model's template does not take an example; the executor does not know whose field that was.
            raise InvalidArgument(error.message) from error


def _parts(examples: Dataset) -> Iterator[tuple[int, Dataset]]:
    """The dataset cut into parts, each with the index of its first example. A long example goes alone."""
    first = characters = 0
    for index, example in enumerate(examples):
        length = len(example.text_input) + len(example.output)
        if index > first and (index - first >= PART_EXAMPLES or characters + length > PART_CHARACTERS):
            yield first, examples[first:index]
            first, characters = index, 0
        characters += length
    yield first, examples[first:]
