"""Parses requests for the list of tuned models: the filter, and where the page begins."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tuningfork.domain.errors import Reason
from tuningfork.domain.permission import Principal, Role
from tuningfork.domain.tuned_model import ProjectLocation, TunedModel, TunedModelId
from tuningfork.service.paging import made_up, place_of, refusal, size_of, token_of
from tuningfork.store.tuned_models import Place, Search

MAX_FILTER_CHARACTERS = 1_000
"""The longest filter, far below the limits of databases: SQLite allows 1,000 conditions, and 50,000 bytes in a word."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ROLE_OPERATORS = {"owner:me": Role.OWNER, "writers:me": Role.WRITER, "readers:me": Role.READER}
_EVERYONE_OPERATOR = "readers:everyone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A parsed request for one page."""

    page_size: int
    search: Search
    filter: str

    @classmethod
    def of(cls, principal: Principal, *, page_size: int | None, page_token: str, filter: str) -> "Listing":  # noqa: A002
        """Parse a request for a page.

        Args:
            principal: the caller, who sees the models on which they, their groups or their project have a role.
            page_size: the requested size; None or 0: 10. More than 1,000 counts as 1,000.
            page_token: the token that came with the previous page; "": the first page.
            filter: words and operators; a model must match all of them.

        Raises:
            InvalidArgument: the size is negative, the filter is too long or has an unknown operator, or the token is
                not for this filter.

        """
        size = size_of(page_size)
        if len(filter) > MAX_FILTER_CHARACTERS:
            described = f"filter must be at most {MAX_FILTER_CHARACTERS} characters; it has {len(filter)}"
            raise refusal("filter", described, Reason.TOO_LONG)
        terms = filter.split()
        words = tuple(term for term in terms if not _is_operator(term))
        search = Search(
            principal=principal,
            least_roles=tuple(_ROLE_OPERATORS[term] for term in terms if term in _ROLE_OPERATORS),
            shared_with_everyone=_EVERYONE_OPERATOR in terms,
            words=words,
            after=_place(page_token, filter) if page_token else None,
            # One model more than is shown is read, to know whether there is a next page.
            limit=size + 1,
        )
        return cls(page_size=size, search=search, filter=filter)

    @classmethod
    def newest_first(
        cls, principal: Principal, place: ProjectLocation, *, page_token: str, constant: str, rows: int
    ) -> "Listing":
        """A request for models of a project and location, the newest first.

        Args:
            principal: the caller, who sees the models on which they, their groups or their project have a role.
            place: the project and location.
            page_token: the token that came with the previous page; "": the first page.
            constant: what must be the same in the call for the next page.
            rows: how many rows are read at a time.

        Raises:
            InvalidArgument: the token is not for this list.

        """
        after = _place(page_token, constant) if page_token else None
        search = Search(principal=principal, belonging_to=place, newest_first=True, after=after, limit=rows)
        return cls(page_size=rows, search=search, filter=constant)

    def next_page_token(self, last_shown: TunedModel) -> str:
        """The token of the page that follows this model."""
        microseconds = (last_shown.create_time - _EPOCH) // _MICROSECOND
        return token_of([microseconds, last_shown.id], _normalized(self.filter))


def _is_operator(term: str) -> bool:
    if term in _ROLE_OPERATORS or term == _EVERYONE_OPERATOR:
        return True
    if ":" in term:
        known = ", ".join([*_ROLE_OPERATORS, _EVERYONE_OPERATOR])
        raise refusal("filter", f"unknown operator {term[:80]!r}; use words, or one of {known}")
    if "\0" in term:
        raise refusal("filter", "a word must not contain the character U+0000; no model's texts do")
    return False


def _place(page_token: str, filter: str) -> Place:  # noqa: A002
    microseconds, model_id = place_of(page_token, _normalized(filter), (int, str))
    try:
        create_time = _EPOCH + int(microseconds) * _MICROSECOND
    except OverflowError as error:
        raise made_up() from error
    return Place(create_time=create_time, model_id=TunedModelId(str(model_id)))


def _normalized(filter: str) -> str:  # noqa: A002
    return " ".join(sorted(filter.split()))
