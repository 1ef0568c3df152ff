"""Limits the open calls of one address, so that it cannot use up all calls of the server."""

import ipaddress
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote

from tuningfork.domain.errors import ResourceExhausted

_IPV6_NETWORK_BITS = 64
"""The prefix length of the IPv6 network that providers give one customer, who can use every address in it."""


_QUIET_PART = 10
"""An address is quiet while it has no more than one in so many of the calls that it may have open."""


class Shares:
    """Counts the open calls of each address.

    Args:
        most: the most open calls of one address; half of the server's.

    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    @contextmanager
    def place(self, peer: str) -> Iterator[bool]:
        """Count a call of the peer's address within the `with` block.

        Args:
            peer: the peer as gRPC writes it: `ipv4:192.0.2.1:50000`, `ipv6:%5B2001:db8::1%5D:50000`.

        Yields:
            Whether few calls are open: no more than a tenth of its share by the address, this one included, and no
            more than one address's share by all addresses together.

        Raises:
            ResourceExhausted: the address has the most open calls already.

        """
        address = address_of(peer)
        if self._open[address] >= self._most:
            raise ResourceExhausted(
                f"Your address has {self._most} calls open, which is the most; wait for some of them to end."
            )
        self._open[address] += 1
        try:
            yield self._open[address] <= self._most // _QUIET_PART and self._open.total() <= self._most
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]


def address_of(peer: str) -> str:
    """The address of a peer without its port; for an IPv6 address, the customer's network."""
    kind, _, rest = unquote(peer).partition(":")
    host = rest.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"{kind}:{host}"
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, _IPV6_NETWORK_BITS), strict=False))
