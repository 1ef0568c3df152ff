"""Counts wrong credentials by the address that they come from, so that nobody can try many."""

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from tuningfork.domain.errors import TooManyTries

MOST_TRIES = 5
WAIT_SECONDS = 30.0
_FORGOTTEN_SECONDS = 600.0
"""After so long without a wrong try, an address has all its tries again."""
_MOST_ADDRESSES = 10_000


@dataclass(slots=True)
class _Tries:
    count: int
    last: float


class WrongTries:
    """Refuses an address for thirty seconds after five wrong credentials in a row. Thread-safe.

    Args:
        monotonic: a monotonic clock, in seconds.

    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        # The address whose wrong try is the latest comes last.
        self._tries: OrderedDict[str, _Tries] = OrderedDict()

    def check(self, address: str) -> None:
        """Check that a credential from this address may be looked at.

        Raises:
            TooManyTries: too many wrong ones have come from there.

        """
        with self._lock:
            tries = self._tries.get(_network_of(address))
            if tries is None or tries.count < MOST_TRIES:
                return
            left = tries.last + WAIT_SECONDS - self._monotonic()
            if left > 0:
                raise TooManyTries(retry_seconds=left)
            del self._tries[_network_of(address)]

    def count(self, address: str) -> None:
        """Count a wrong credential from this address."""
        network, now = _network_of(address), self._monotonic()
        with self._lock:
            tries = self._tries.pop(network, None)
            if tries is None or now - tries.last >= _FORGOTTEN_SECONDS:
                tries = _Tries(0, now)
            self._tries[network] = _Tries(tries.count + 1, now)
            if len(self._tries) > _MOST_ADDRESSES:
                self._tries.popitem(last=False)

    def forget(self, address: str) -> None:
        """Forget the wrong credentials from this address, since a right one has come."""
        with self._lock:
            self._tries.pop(_network_of(address), None)


def _network_of(address: str) -> str:
    """What has tries of its own: an IPv4 address, or all addresses with one IPv6 prefix of 64 bits, as of one host."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((known, 64), strict=False))
    return address
