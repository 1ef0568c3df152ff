"""The list of tuned models: what a filter means, and where a page begins.

A page token says after which model to go on and which filter it belongs to, so models that are created or deleted in
between neither repeat nor hide others. It holds no secret: what a caller may see is asked anew for every page.
"""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tuningfork.domain.errors import FieldViolation, InvalidArgument
from tuningfork.domain.permission import Email, Role
from tuningfork.domain.tuned_model import TunedModel, TunedModelId
from tuningfork.store.tuned_models import Place, Search

DEFAULT_PAGE_SIZE = 10
MAX_PAGE_SIZE = 1_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ROLE_OPERATORS = {"owner:me": Role.OWNER, "writers:me": Role.WRITER, "readers:me": Role.READER}
_EVERYONE_OPERATOR = "readers:everyone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One page that somebody asked for, understood."""

    page_size: int
    search: Search
    filter: str

    @classmethod
    def of(cls, email: Email, *, page_size: int | None, page_token: str, filter: str) -> "Listing":  # noqa: A002
        """Understand a request for a page.

        Args:
            email: the caller's.
            page_size: None or 0 for the usual ten; above a thousand is a thousand.
            page_token: from the page before, or "".
            filter: words and operators, which must all hold.

        Raises:
            InvalidArgument: a negative size, an operator that is none, a token that is not for this filter.

        """
        if page_size is not None and page_size < 0:
            raise _refusal("page_size", f"page_size must not be negative; {page_size} was given")
        size = min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
        terms = filter.split()
        words = tuple(term for term in terms if not _is_operator(term))
        search = Search(
            email=email,
            least_roles=tuple(_ROLE_OPERATORS[term] for term in terms if term in _ROLE_OPERATORS),
            shared_with_everyone=_EVERYONE_OPERATOR in terms,
            words=words,
            after=_place(page_token, filter) if page_token else None,
            # One more than is shown tells whether there is a next page.
            limit=size + 1,
        )
        return cls(page_size=size, search=search, filter=filter)

    def next_page_token(self, last_shown: TunedModel) -> str:
        """The token of the page that follows this model."""
        microseconds = (last_shown.create_time - _EPOCH) // _MICROSECOND
        content = json.dumps([microseconds, last_shown.id, _digest(self.filter)], separators=(",", ":"))
        return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def _is_operator(term: str) -> bool:
    if term in _ROLE_OPERATORS or term == _EVERYONE_OPERATOR:
        return True
    if ":" in term:
        known = ", ".join([*_ROLE_OPERATORS, _EVERYONE_OPERATOR])
        raise _refusal("filter", f"unknown operator {term[:80]!r}; use words, or one of {known}")
    return False


def _place(page_token: str, filter: str) -> Place:  # noqa: A002
    try:
        padded = page_token + "=" * (-len(page_token) % 4)
        microseconds, model_id, digest = json.loads(base64.b64decode(padded, altchars="-_", validate=True))
        place = Place(create_time=_EPOCH + int(microseconds) * _MICROSECOND, model_id=TunedModelId(str(model_id)))
    except (binascii.Error, ValueError, TypeError, OverflowError) as error:
        raise _refusal("page_token", "page_token is not one that this method returned") from error
    if digest != _digest(filter):
        raise _refusal("page_token", "page_token belongs to another filter; all other arguments must stay the same")
    return place


def _digest(filter: str) -> str:  # noqa: A002
    return hashlib.sha256(" ".join(sorted(filter.split())).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _refusal(field: str, description: str) -> InvalidArgument:
    return InvalidArgument.of("ListTunedModelsRequest", (FieldViolation(field=field, description=description),))
