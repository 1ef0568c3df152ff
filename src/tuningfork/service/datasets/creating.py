"""Tuning jobs of staged datasets, and estimates of them; requests with an id create one job each."""

from asyncio import to_thread
from dataclasses import dataclass, replace
from functools import partial

from tuningfork.domain.conversation import Conversation
from tuningfork.domain.data_findings import CheckPurpose
from tuningfork.domain.dataset import Examples
from tuningfork.domain.errors import FailedPrecondition, FieldViolation, InvalidArgument, Reason
from tuningfork.domain.job_detail import NextPlace
from tuningfork.domain.permission import Principal
from tuningfork.domain.preview import TuningPreview
from tuningfork.domain.references import CheckpointRef, TunedRef
from tuningfork.domain.staged_dataset import StagedDataset, StagedDatasetId
from tuningfork.domain.staged_examples import Layout, example_of
from tuningfork.domain.tuning_job import TuningRequest
from tuningfork.service.datasets.checking import Checking
from tuningfork.service.datasets.shelf import Shelf
from tuningfork.service.datasets.turns import LongWork
from tuningfork.service.tuning.previewing import Previewing
from tuningfork.service.tuning.queue_places import QueuePlaces
from tuningfork.service.tuning.tuned import Tuned
from tuningfork.service.tuning.tuning import Tuning
from tuningfork.store import staged_datasets

MOST_COUNTED = 2_000
"""Of how many examples tokens are counted for an estimate; of a larger dataset, of as many from all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a job would do. `preview` is computed from a sample of its examples, `tuned` from all of them.

    `place` is where it would stand in the queue.
    """

    tuned: Tuned
    preview: TuningPreview
    place: NextPlace

    @property
    def total_tokens(self) -> int:
        """The tokens of one epoch: counted, or projected from those that were counted."""
        return self._projected(self.preview.dataset.total_tokens)

    @property
    def trained_tokens(self) -> int:
        """Those of them for which a loss is computed."""
        return self._projected(self.preview.dataset.trained_tokens)

    @property
    def seconds(self) -> float | None:
        """About how long training takes once it has begun; None if this server has not measured it."""
        speed = self.preview.tokens_per_second
        return self.total_tokens * self.tuned.job.hyperparameters.epoch_count / speed if speed else None

    def _projected(self, tokens: int) -> int:
        counted = self.preview.example_count
        return round(tokens * self.tuned.job.example_count / counted) if counted else 0


class Creating:
    """The use cases of jobs over staged datasets."""

    def __init__(
        self,
        shelf: Shelf,
        checking: Checking,
        tuning: Tuning,
        previewing: Previewing,
        long: LongWork,
        places: QueuePlaces,
    ) -> None:
        self._shelf = shelf
        self._checking = checking
        self._tuning = tuning
        self._previewing = previewing
        self._places = places
        self._long = long

    async def created(self, principal: Principal, request: TuningRequest, dataset: StagedDatasetId | None) -> Tuned:
        """As `create`, in a thread."""
        create = partial(self.create, principal, request, dataset)
        return await (to_thread(create) if dataset is None else self._long.over(principal, dataset, create))

    def create(self, principal: Principal, request: TuningRequest, dataset: StagedDatasetId | None) -> Tuned:
        """Accept a tuning job, as `Tuning.create`, or return that which an earlier request with the same id has made.

        Raises:
            InvalidArgument: everything that is wrong with the request, or an error in the dataset.
            StagedDatasetNotFound: see `Shelf.find`.
            TuningforkError: as `Tuning.create`.

        """
        if (made := self._made(principal, request.request_id)) is not None:
            return made
        filled = self.filled(principal, request, dataset)
        try:
            return self._tuning.create(principal, filled)
        except staged_datasets.RequestMade:
            if (made := self._made(principal, request.request_id)) is not None:
                return made
            raise

    def filled(self, principal: Principal, request: TuningRequest, dataset: StagedDatasetId | None) -> TuningRequest:
        """The request with the examples of the dataset; unchanged if it names none.

        Raises:
            InvalidArgument: the dataset has errors.
            StagedDatasetNotFound: see `Shelf.find`.
            NotFound: there is no such base model or tuned model.
            FailedPrecondition: the rows are not on this server.

        """
        if dataset is None:
            return request
        found = self._checked(principal, request, dataset)
        return replace(request, examples=self._examples(found))

    async def estimate(self, principal: Principal, request: TuningRequest, dataset: StagedDatasetId) -> Estimate:
        """What a job of this request would be. Nothing is stored.

        Raises:
            TuningforkError: as `filled` and `Previewing.preview`.

        """
        sampled = partial(self._sampled, principal, request, dataset)
        tuned, sample = await self._long.over(principal, dataset, sampled)
        preview = await self._previewing.preview(principal, sample, 0)
        return Estimate(
            tuned=tuned,
            preview=preview,
            place=await to_thread(self._places.next),
        )

    async def filled_in_turn(
        self, principal: Principal, request: TuningRequest, dataset: StagedDatasetId | None
    ) -> TuningRequest:
        """The request that `filled` gives. A large dataset is read in a thread of those that large datasets have."""
        if dataset is None:
            return request
        return await self._long.over(principal, dataset, partial(self.filled, principal, request, dataset))

    def _sampled(
        self, principal: Principal, request: TuningRequest, dataset: StagedDatasetId
    ) -> tuple[Tuned, TuningRequest]:
        """What creating would make, and the request with as many examples, from all of the dataset, as are counted."""
        filled = self.filled(principal, request, dataset)
        tuned, _, _ = self._tuning.check(principal, filled)
        every = -(-len(filled.examples) // MOST_COUNTED)
        return tuned, filled if every == 1 else replace(filled, examples=filled.examples[::every])

    def _made(self, principal: Principal, request_id: str) -> Tuned | None:
        """What an earlier request of the caller with this id has made."""
        if not request_id:
            return None
        with self._shelf.database.read() as connection:
            found = staged_datasets.find_created(connection, principal.email, request_id)
        return None if found is None else self._tuning.get(principal, found)

    def _checked(self, principal: Principal, request: TuningRequest, dataset: StagedDatasetId) -> StagedDataset:
        checked = self._checking.check(principal, dataset, _purpose(request))
        if errors := checked.report.errors:
            described = " ".join(f"{each.title}: {each.description}" for each in errors)
            said = f"{described} Mend the rows, or let datasets/{dataset}:fix do so."
            raise InvalidArgument(
                violations=(FieldViolation(field="examples", description=said, reason=Reason.MALFORMED),)
            )
        return checked.dataset

    def _examples(self, dataset: StagedDataset) -> Examples:
        places, layout = self._shelf.places(dataset), Layout.of(dataset.columns)
        made = (example_of(row, layout) for row in places.read(range(len(places))))
        examples = tuple(each for each in made if isinstance(each, Conversation))
        if len(examples) != len(places):
            raise FailedPrecondition("The dataset was changed meanwhile: check it again.")
        return examples


def _purpose(request: TuningRequest) -> CheckPurpose:
    source = request.source
    tuned = source.id if isinstance(source, TunedRef) else source.model if isinstance(source, CheckpointRef) else None
    held_out = request.held_out_percent is not None
    return CheckPurpose(base_model="" if tuned else request.base_model, tuned_model=tuned, held_out=held_out)
