"""The index of the prefix cache: finds the page that holds the keys and values of a prompt's next tokens.

The content of a page depends on its own tokens, on all tokens before them, and on the adapter that computed it. So a
page's key is its tokens and a number that identifies the prefix before them: the number given to the previous page, or,
for a prompt's first page, the adapter's generation and the owner. Numbers are never used twice, and tokens are compared
themselves rather than by a digest. So no two prefixes share a key, even after pages and slots have been reused.
"""

import itertools
from collections.abc import Sequence

Sharers = tuple[int, str | None]
"""Whose sequences share pages: the generation of their adapter (`AdapterSlots.generation`), and the prompt's owner.
None in place of the owner: all that share with others.

If owners shared, each could tell from the time to a first token what others have asked.
"""

PageKey = tuple[int | Sharers, tuple[int, ...]]
"""The number of the previous page, or for a prompt's first page the `Sharers`; and the page's tokens."""


class PrefixIndex:
    """The pages of the prefix cache, by their keys."""

    def __init__(self) -> None:
        self._pages: dict[PageKey, int] = {}
        self._known: dict[int, tuple[int, PageKey]] = {}
        self._generations: dict[int, int] = {}
        self._numbers = itertools.count()

    def __contains__(self, page: int) -> bool:
        return page in self._known

    def key_of(self, sharers: Sharers, before: int | None, tokens: Sequence[int]) -> PageKey | None:
        """The key of a page with these tokens.

        Args:
            sharers: the sequences that may find the page.
            before: the index in the cache of the previous page; None: this is a prompt's first page.
            tokens: the page's tokens, as many as a page holds.

        Returns:
            None if the previous page is not in this index.

        """
        if before is None:
            return sharers, tuple(tokens)
        known = self._known.get(before)
        return None if known is None else (known[0], tuple(tokens))

    def find(self, key: PageKey) -> int | None:
        """The page with this key; None: there is none."""
        return self._pages.get(key)

    def add(self, key: PageKey, page: int, generation: int) -> None:
        """Add a page under this key. Neither the page nor the key may be in the index already.

        `generation` is that of the adapter that computed the page.
        """
        self._pages[key] = page
        self._known[page] = next(self._numbers), key
        self._generations[page] = generation

    def of_adapter(self, generation: int) -> list[int]:
        """The pages that the adapter of this generation computed."""
        return [page for page, own in self._generations.items() if own == generation]

    def forget(self, page: int) -> None:
        """Remove a page from the index. A page that is not in the index is ignored.

        The pages after it cannot be found any more either, since their keys contain its number.
        """
        known = self._known.pop(page, None)
        if known is not None:
            del self._pages[known[1]]
            del self._generations[page]
