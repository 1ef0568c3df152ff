"""The use cases of the queue: which jobs wait and are at work, and stopping one of them."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from tuningfork.domain.job_stage import StagedJob
from tuningfork.domain.library import MAX_PAGE_SIZE, LibraryOrder, LibraryQuery, LibraryRow
from tuningfork.domain.operations import UnfinishedJob, UnfinishedJobs
from tuningfork.domain.operators import Operators
from tuningfork.domain.permission import Action, Principal, Role, allows
from tuningfork.domain.references import TunedRef
from tuningfork.domain.refusals import ResourceNotFound
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.domain.tuning_job import JobState, TuningJob
from tuningfork.service.tuning.queue_places import QueuePlaces
from tuningfork.store import access, library
from tuningfork.store.database import Database

logger = logging.getLogger(__name__)

_UNFINISHED = LibraryQuery(
    states=frozenset(state for state in JobState if not state.is_final),
    order=LibraryOrder.CREATE_TIME,
    descending=False,
    page_size=MAX_PAGE_SIZE,
)
_LAST_PLACE = 1_000_000_000


class Unfinished:
    """Lists the jobs that have not ended, and cancels one.

    Args:
        database: where they are.
        clock: the time now, timezone-aware.
        staged: what jobs are doing, in their order: `Staging.all_staged`.
        places: where waiting jobs stand.
        operators: who runs the server.
        cancel: stops the job of a model: `Tuning.cancel`.

    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        staged: Callable[[Sequence[TuningJob]], Sequence[StagedJob]],
        places: QueuePlaces,
        *,
        operators: Operators,
        cancel: Callable[[Principal, TunedModelId], None],
    ) -> None:
        self._database = database
        self.clock = clock
        self._staged = staged
        self._places = places
        self._operators = operators
        self._cancel = cancel

    def list(self, principal: Principal) -> UnfinishedJobs:
        """Those of the models that the caller may see; for whoever runs the server, all. The oldest 200 at most."""
        everybodys = self._operators.includes(principal)
        with self._database.read() as connection:
            found = library.search(connection, principal, _UNFINISHED, everybodys=everybodys)
        jobs = [entry.job for entry in found.entries]
        places = self._places.of([job for job in jobs if job.state is JobState.QUEUED])
        rows = [
            LibraryRow(entry=entry, staged=staged, place=places.get(entry.job.id))
            for entry, staged in zip(found.entries, self._staged(jobs), strict=True)
        ]
        rows.sort(key=_turn)
        told = tuple(UnfinishedJob(row=row, may_cancel=everybodys or _may_cancel(row)) for row in rows)
        return UnfinishedJobs(jobs=told, total=found.total, everybodys=everybodys)

    def cancel(self, principal: Principal, model_id: TunedModelId) -> None:
        """Stop a job: for those who may write the model, and for whoever runs the server.

        Raises:
            NotFound: there is no such model.
            PermissionDenied: the caller may do neither.

        """
        if self._operators.includes(principal):
            with self._database.read() as connection:
                granted = access.permissions_of(connection, model_id)
            owner = next((each.email for each in granted if each.role is Role.OWNER), None)
            if not granted:
                raise ResourceNotFound(TunedRef(model_id))
            if owner is not None and owner != principal.email:
                said = "the job of model %s is cancelled by an operator, not by its owner"
                logger.info(said, model_id, extra={"action": "job_cancelled_by_operator", "model": model_id})
                principal = Principal(email=owner)
        self._cancel(principal, model_id)


def _may_cancel(row: LibraryRow) -> bool:
    return allows(row.entry.role, Action.CANCEL)


def _turn(row: LibraryRow) -> tuple[int, int, datetime]:
    job = row.entry.job
    place = None if row.place is None else row.place.position
    if job.state is JobState.RUNNING:
        return 0, 0, job.create_time
    return 1 if job.state is JobState.QUEUED else 2, _LAST_PLACE if place is None else place, job.create_time
