"""All use cases of staged datasets, put together."""

from concurrent.futures import Executor
from dataclasses import dataclass

from tuningfork.domain.base_model import Catalog
from tuningfork.execution.base import Generators
from tuningfork.execution.file_reading import FileReaders
from tuningfork.service.datasets.arriving import Arrivals
from tuningfork.service.datasets.checking import Checking
from tuningfork.service.datasets.creating import Creating
from tuningfork.service.datasets.editing import Editing
from tuningfork.service.datasets.keeping import Keeping
from tuningfork.service.datasets.shelf import Shelf
from tuningfork.service.datasets.trying import Trying
from tuningfork.service.datasets.turns import LongWork
from tuningfork.service.tuning.previewing import Previewing
from tuningfork.service.tuning.queue_places import QueuePlaces
from tuningfork.service.tuning.tuning import Tuning


@dataclass(frozen=True, slots=True, kw_only=True)
class Datasets:
    """The use cases of staged datasets, which share one shelf. `long` is for those that look at all rows."""

    shelf: Shelf
    arrivals: Arrivals
    keeping: Keeping
    editing: Editing
    checking: Checking
    trying: Trying
    creating: Creating
    long: LongWork

    @classmethod
    def of(
        cls,
        shelf: Shelf,
        catalog: Catalog,
        readers: FileReaders,
        generators: Generators,
        tuning: Tuning,
        previewing: Previewing,
        threads: Executor,
        places: QueuePlaces,
    ) -> "Datasets":
        """The use cases over the datasets of this shelf. Work over many rows is done in `threads`."""
        editing = Editing(shelf)
        checking, long = Checking(shelf, editing, catalog, tuning.get), LongWork(shelf, threads)
        return cls(
            shelf=shelf,
            arrivals=Arrivals(shelf, readers),
            keeping=Keeping(shelf),
            editing=editing,
            checking=checking,
            trying=Trying(shelf, editing, checking, generators, catalog, long),
            creating=Creating(shelf, checking, tuning, previewing, long, places),
            long=long,
        )
