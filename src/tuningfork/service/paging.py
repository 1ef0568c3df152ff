"""Pages of lists: their sizes, and the tokens that say where the next page begins.

A token holds the sort key of the last item shown, so that items that are created or deleted between two calls neither
repeat nor hide other items. It also holds a digest of the arguments that must stay the same from page to page. A token
is no secret, and gives no access.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tuningfork.domain.errors import FieldViolation, InvalidArgument, Reason

Item = TypeVar("Item")

DEFAULT_PAGE_SIZE = 10
MAX_PAGE_SIZE = 1_000


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items of a list. `next_page_token` is "" on the last page."""

    items: tuple[Item, ...]
    next_page_token: str


def size_of(asked: int | None) -> int:
    """How many items a page has: the requested number, at most 1,000, or 10 by default.

    Args:
        asked: the requested number; None or 0: the default.

    Raises:
        InvalidArgument: the size is negative.

    """
    if asked is not None and asked < 0:
        raise refusal("page_size", f"page_size must not be negative; {asked} was given", Reason.OUT_OF_RANGE)
    return min(asked or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def token_of(place: Sequence[str | int], constant: str) -> str:
    """The token of the page that begins after an item.

    Args:
        place: the sort key of the last item that was shown.
        constant: what must be the same in the call for the next page, such as a filter.

    """
    content = json.dumps([*place, _digest(constant)], separators=(",", ":"))
    return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def place_of(token: str, constant: str, kinds: Sequence[type[str] | type[int]]) -> list[str | int]:
    """The sort key in a token that `token_of` made.

    Args:
        token: the token that came with the previous page.
        constant: as given to `token_of`.
        kinds: the type of each part of the sort key.

    Raises:
        InvalidArgument: the token was not made by `token_of`, or belongs to another list.

    """
    place: list[str | int]
    try:
        padded = token + "=" * (-len(token) % 4)
        *place, digest = json.loads(base64.b64decode(padded, altchars="-_", validate=True))
    except (binascii.Error, ValueError, TypeError, RecursionError) as error:
        raise made_up() from error
    if [type(part) for part in place] != list(kinds) or any(_is_foreign(part) for part in place):
        raise made_up()
    if digest != _digest(constant):
        reason = "page_token belongs to another filter or model; all other arguments must stay the same"
        raise refusal("page_token", reason)
    return place


def refusal(field: str, description: str, reason: Reason = Reason.MALFORMED) -> InvalidArgument:
    """The error for one argument of a list."""
    return InvalidArgument(violations=(FieldViolation(field=field, description=description, reason=reason),))


def _is_foreign(part: str | int) -> bool:
    """Whether a part of a token is not from this server, whose ids are printable and whose times fit into eight bytes.

    A database could not even search for such a value.
    """
    return not part.isprintable() if isinstance(part, str) else not -(2**63) <= part < 2**63


def made_up() -> InvalidArgument:
    """The error for a page token that this server did not return."""
    return refusal("page_token", "page_token is not one that this method returned")


def _digest(constant: str) -> str:
    return hashlib.sha256(constant.encode("utf-8", "surrogatepass")).hexdigest()[:12]
