"""The use case of the library: pages of the tuned models that a person may see, with what their jobs are doing."""

from collections.abc import Callable, Sequence
from datetime import datetime

from tuningfork.domain.job_stage import StagedJob
from tuningfork.domain.library import LibraryPage, LibraryQuery, LibraryRow
from tuningfork.domain.permission import Principal
from tuningfork.domain.tuning_job import JobState, TuningJob
from tuningfork.service.tuning.queue_places import QueuePlaces
from tuningfork.store import library
from tuningfork.store.database import Database


class Library:
    """Lists tuned models.

    Args:
        database: where they are.
        clock: the time now, timezone-aware.
        staged: what jobs are doing, in their order: `Staging.all_staged`.
        places: where waiting jobs stand.

    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        staged: Callable[[Sequence[TuningJob]], Sequence[StagedJob]],
        places: QueuePlaces,
    ) -> None:
        self._database = database
        self.clock = clock
        self._staged = staged
        self._places = places

    def page(self, principal: Principal, query: LibraryQuery) -> LibraryPage:
        """A page of the models on which the caller, one of their groups or their project has a role."""
        with self._database.read() as connection:
            found = library.search(connection, principal, query)
        jobs = [entry.job for entry in found.entries]
        places = self._places.of([job for job in jobs if job.state is JobState.QUEUED])
        rows = tuple(
            LibraryRow(entry=entry, staged=staged, place=places.get(entry.job.id))
            for entry, staged in zip(found.entries, self._staged(jobs), strict=True)
        )
        return LibraryPage(rows=rows, total=found.total, query=query, states=found.states, bases=found.bases)
