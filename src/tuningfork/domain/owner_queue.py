"""A queue in which owners take turns: whoever waits with little is not behind all of whoever waits with much."""

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class OwnerQueue(Generic[Item]):
    """The waiting items of each owner in the order of their arrival, and the owners in the order of their turns.

    An owner that has had a turn goes behind the others, and so does one that has just come. Not thread-safe.
    """

    def __init__(self) -> None:
        # Owners in the order of their turns.
        self._items: dict[str, deque[Item]] = {}

    def __bool__(self) -> bool:
        return bool(self._items)

    def __len__(self) -> int:
        return sum(map(len, self._items.values()))

    def __iter__(self) -> Iterator[Item]:
        for items in self._items.values():
            yield from items

    @property
    def owners(self) -> list[str]:
        """The owners with waiting items, the one whose turn it is first."""
        return list(self._items)

    def append(self, owner: str, item: Item) -> None:
        """Put an item behind the owner's others."""
        self._items.setdefault(owner, deque()).append(item)

    def put_first(self, owner: str, item: Item) -> None:
        """Put an item before the owner's others."""
        self._items.setdefault(owner, deque()).appendleft(item)

    def first(self, owner: str) -> Item:
        """The owner's oldest item."""
        return self._items[owner][0]

    def take(self, owner: str | None = None) -> Item:
        """Remove and return an owner's oldest item; its next turn comes after those of all others.

        None: the owner whose turn it is.
        """
        chosen = next(iter(self._items)) if owner is None else owner
        items = self._items.pop(chosen)
        item = items.popleft()
        if items:
            self._items[chosen] = items
        return item

    def remove(self, owner: str, item: Item) -> None:
        """Remove an item, wherever it stands.

        Raises:
            ValueError: it is not there.

        """
        items = self._items.get(owner, deque())
        items.remove(item)
        if not items:
            del self._items[owner]
