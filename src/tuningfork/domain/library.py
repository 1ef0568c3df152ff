"""The library: all tuned models that a person may see, each with what its job is doing, in pages."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.job_detail import QueuePlace
from tuningfork.domain.job_stage import StagedJob
from tuningfork.domain.permission import Email, Role
from tuningfork.domain.tuned_model import TunedModel
from tuningfork.domain.tuning_job import JobState, TuningJob

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 200
MAX_SEARCH_CHARACTERS = 1_000


class LibraryOrder(StrEnum):
    """By what the library is sorted."""

    CREATE_TIME = "createTime"
    DISPLAY_NAME = "displayName"
    """In any case; models without a name come first."""
    LOSS = "loss"
    """The lowest loss on the validation set, or else that of the last step. Models without either come last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryQuery:
    """Which models to show, and in which order. A model must satisfy all conditions.

    `words` are parts of the display name, the description or the id, in any case. `states` empty: of any state. `base`
    and `owner` None: over any base, of any owner. `page` counts from 1.
    """

    words: tuple[str, ...] = ()
    states: frozenset[JobState] = frozenset()
    base: BaseModelName | None = None
    owner: Email | None = None
    order: LibraryOrder = LibraryOrder.CREATE_TIME
    descending: bool = True
    page: int = 1
    page_size: int = DEFAULT_PAGE_SIZE


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryEntry:
    """A model as the database has it. `owner` is "" if nobody owns it; `role` is the caller's."""

    model: TunedModel
    job: TuningJob
    owner: Email
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryRow:
    """A model with what its job is doing, and its place in the queue; None: it does not wait."""

    entry: LibraryEntry
    staged: StagedJob
    place: QueuePlace | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryPage:
    """A page of the library.

    `total` is how many models satisfy the conditions. `states` and `bases` count all models that the caller may see,
    whatever the conditions; states and bases without any are left out.
    """

    rows: tuple[LibraryRow, ...]
    total: int
    query: LibraryQuery
    states: Mapping[JobState, int]
    bases: Mapping[BaseModelName, int]

    @property
    def page_count(self) -> int:
        """How many pages there are, at least 1."""
        return max(1, -(-self.total // self.query.page_size))
