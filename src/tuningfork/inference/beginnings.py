"""Which pages of the cache hold which beginnings of prompts, so that prompts that begin alike are read once.

What a page holds depends on its tokens, on all tokens before it, and on the adapter that computed it. So it is known by
its place: its own tokens, and what lies before them. That is the number of the page before or, where there is none, the
adapter. Numbers are never given twice, and tokens are compared one by one, not by a digest: no place is ever taken for
another, whatever becomes of pages and slots.
"""

import itertools
from collections.abc import Sequence

Place = tuple[int | tuple[int], tuple[int, ...]]
"""What lies before, a page's number or an adapter's generation in a tuple, and the page's tokens."""


class Beginnings:
    """The pages that are known, by place."""

    def __init__(self) -> None:
        self._pages: dict[Place, int] = {}
        self._known: dict[int, tuple[int, Place]] = {}
        self._numbers = itertools.count()

    def __contains__(self, page: int) -> bool:
        return page in self._known

    def place(self, adapter: int, before: int | None, tokens: Sequence[int]) -> Place | None:
        """Where a page with these tokens lies.

        Args:
            adapter: its generation, see `AdapterSlots.generation`.
            before: the page before; None: nothing is before.
            tokens: of the page, as many as it holds.

        Returns:
            None where the page before is not known.

        """
        if before is None:
            return (adapter,), tuple(tokens)
        known = self._known.get(before)
        return None if known is None else (known[0], tuple(tokens))

    def find(self, place: Place) -> int | None:
        """The page at this place."""
        return self._pages.get(place)

    def add(self, place: Place, page: int) -> None:
        """Let a page be found. It must not be known yet, and its place must be free."""
        self._pages[place] = page
        self._known[page] = next(self._numbers), place

    def forget(self, page: int) -> None:
        """Let a page be found no more, nor any that lie behind it; nothing is done to one that is not known."""
        known = self._known.pop(page, None)
        if known is not None:
            del self._pages[known[1]]
