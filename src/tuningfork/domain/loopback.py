"""Recognises names and addresses that always mean this machine."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether it is `localhost` or an address in 127.0.0.0/8 or ::1, with or without brackets; no name is resolved."""
    if host.lower().removesuffix(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False
