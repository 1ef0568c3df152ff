"""What the address of the library says about its order, its filters and its page, and the addresses of other views."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

PAGE_SIZE = 50

STATES: Mapping[str, tuple[str, ...]] = {
    "running": ("PREPARING", "QUEUED", "RUNNING"),
    "ready": ("SUCCEEDED",),
    "failed": ("FAILED",),
    "stopped": ("CANCELLED",),
}
"""The groups of states that can be chosen, each with the API's names of its states."""

ENDED = tuple(name for group, names in STATES.items() if group != "running" for name in names)

_ORDERS = ("createTime", "displayName", "loss")
_DESCENDING_FIRST = frozenset({"createTime"})
_USUAL_ORDER = "createTime desc"


@dataclass(frozen=True, slots=True)
class LibraryQuery:
    """A view of the library. What its address leaves out is as usual."""

    search: str = ""
    state: str = ""
    base: str = ""
    owner: str = ""
    order: str = _USUAL_ORDER
    page: int = 1

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "LibraryQuery":
        """The view of an address; what is not valid in it is as usual."""
        column, _, direction = query.get("order", "").partition(" ")
        valid = column in _ORDERS and direction in {"", "desc"}
        page = query.get("page", "1")
        return cls(
            search=query.get("search", "").strip()[:200],
            state=query.get("state", "") if query.get("state") in STATES else "",
            base=query.get("base", "")[:200],
            owner="me" if query.get("owner") == "me" else "",
            order=query["order"] if valid else _USUAL_ORDER,
            page=min(100_000, max(1, int(page))) if page.isdecimal() and len(page) < 8 else 1,
        )

    @property
    def is_filtered(self) -> bool:
        """Whether some models may be left out."""
        return bool(self.search or self.state or self.base or self.owner)

    def for_api(self) -> dict[str, str]:
        """The query of the API's list."""
        named = {
            "search": self.search,
            # What is at work has a list of its own above this one.
            "state": ",".join(STATES.get(self.state, ENDED)),
            "base": self.base,
            "owner": self.owner,
        }
        kept = {name: value for name, value in named.items() if value}
        return {**kept, "orderBy": self.order, "pageSize": str(PAGE_SIZE), "page": str(self.page)}

    def address(self, page: int | None = None) -> str:
        """The query of this view's own address, or of another page of it."""
        shown = replace(self, page=page) if page is not None else self
        named = {
            "search": shown.search,
            "state": shown.state,
            "base": shown.base,
            "owner": shown.owner,
            "order": "" if shown.order == _USUAL_ORDER else shown.order,
            "page": "" if shown.page == 1 else str(shown.page),
        }
        written = urlencode({name: value for name, value in named.items() if value})
        return f"?{written}" if written else "?"

    def sorted_by(self, column: str) -> str:
        """The address of the view in the order of a column; in the opposite one if it is in that order already."""
        descending = f"{column} desc"
        if self.order in {column, descending}:
            order = column if self.order == descending else descending
        else:
            order = descending if column in _DESCENDING_FIRST else column
        return replace(self, order=order, page=1).address()

    def direction(self, column: str) -> str:
        """How the column is sorted, in the words of `aria-sort`."""
        return {column: "ascending", f"{column} desc": "descending"}.get(self.order, "none")


def pages_around(page: int, count: int) -> list[int | None]:
    """The numbers of the pages to link to: the first, the last and those nearby. None: some are left out there."""
    shown = sorted({1, count, *range(max(1, page - 2), min(count, page + 2) + 1)})
    found: list[int | None] = []
    for before, number in zip([0, *shown], shown, strict=False):
        if number - before > 1:
            found.append(None)
        found.append(number)
    return found
