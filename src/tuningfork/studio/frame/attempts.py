"""Counts wrong keys by address, so that nobody tries many."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MOST_WRONG = 5
PAUSE_SECONDS = 30.0
_MOST_ADDRESSES = 10_000


@dataclass(slots=True)
class _Tries:
    wrong: int
    last: float


class Attempts:
    """The wrong tries of each address. `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tries: OrderedDict[str, _Tries] = OrderedDict()

    def seconds_to_wait(self, address: str) -> float:
        """How long the address has to wait before its next try; 0: not at all."""
        tries = self._tries.get(address)
        if tries is None or tries.wrong < MOST_WRONG:
            return 0.0
        return max(0.0, tries.last + PAUSE_SECONDS - self._clock())

    def was_wrong(self, address: str) -> None:
        """Count a wrong try. After a pause the count begins anew."""
        now = self._clock()
        tries = self._tries.pop(address, None)
        if tries is None or now - tries.last >= PAUSE_SECONDS:
            tries = _Tries(0, now)
        tries.wrong, tries.last = tries.wrong + 1, now
        self._tries[address] = tries
        while len(self._tries) > _MOST_ADDRESSES:
            self._tries.popitem(last=False)

    def was_right(self, address: str) -> None:
        """Forget the wrong tries of an address."""
        self._tries.pop(address, None)
