"""Pages of lists: their sizes, and the tokens that say where the next one begins.

A token holds the place after which to go on, so what is made or deleted in between neither repeats nor hides others,
and a digest of what must stay the same from page to page. It holds no secret and gives no right.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tuningfork.domain.errors import FieldViolation, InvalidArgument

Item = TypeVar("Item")

DEFAULT_PAGE_SIZE = 10
MAX_PAGE_SIZE = 1_000


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some of many. `next_page_token` is "" on the last page."""

    items: tuple[Item, ...]
    next_page_token: str


def size_of(asked: int | None, request: str) -> int:
    """How many items a page shows: ten unless asked, a thousand at most.

    Args:
        asked: None or 0 for the usual size.
        request: the name of the request message, for the error.

    Raises:
        InvalidArgument: the size is negative.

    """
    if asked is not None and asked < 0:
        raise refusal(request, "page_size", f"page_size must not be negative; {asked} was given")
    return min(asked or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def token_of(place: Sequence[str | int], constant: str) -> str:
    """The token of the page that follows a place.

    Args:
        place: what orders the list, of the last item that was shown.
        constant: what must be the same on the next page, such as a filter.

    """
    content = json.dumps([*place, _digest(constant)], separators=(",", ":"))
    return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def place_of(token: str, constant: str, request: str, kinds: Sequence[type[str] | type[int]]) -> list[str | int]:
    """The place in a token that `token_of` made.

    Args:
        token: from the page before.
        constant: as given to `token_of`.
        request: the name of the request message, for the error.
        kinds: the type of each part of the place.

    Raises:
        InvalidArgument: the token was made up, or belongs to another list.

    """
    place: list[str | int]
    try:
        padded = token + "=" * (-len(token) % 4)
        *place, digest = json.loads(base64.b64decode(padded, altchars="-_", validate=True))
    except (binascii.Error, ValueError, TypeError, RecursionError) as error:
        raise _made_up(request) from error
    if [type(part) for part in place] != list(kinds) or any(_is_foreign(part) for part in place):
        raise _made_up(request)
    if digest != _digest(constant):
        reason = "page_token belongs to another filter or model; all other arguments must stay the same"
        raise refusal(request, "page_token", reason)
    return place


def refusal(request: str, field: str, description: str) -> InvalidArgument:
    """The error for one argument of a list."""
    return InvalidArgument.of(request, (FieldViolation(field=field, description=description),))


def _is_foreign(part: str | int) -> bool:
    """Whether a database could not even look for it: ids are printable, and times fit into eight bytes."""
    return not part.isprintable() if isinstance(part, str) else not -(2**63) <= part < 2**63


def _made_up(request: str) -> InvalidArgument:
    return refusal(request, "page_token", "page_token is not one that this method returned")


def _digest(constant: str) -> str:
    return hashlib.sha256(constant.encode("utf-8", "surrogatepass")).hexdigest()[:12]
