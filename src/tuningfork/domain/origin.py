"""Origins of web pages, as browsers write them (RFC 6454)."""

import re

_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?/?"
)
_USUAL_PORTS = {"http": "80", "https": "443"}


def parse_origin(given: str) -> str:
    """An origin as browsers write it: in lower case, without a path, and without the scheme's default port.

    Raises:
        ValueError: it is none.

    """
    if given == "*":
        return given
    found = _ORIGIN.fullmatch(given.lower())
    if found is None:
        raise ValueError(
            f"an origin is scheme://host or scheme://host:port as browsers write it, or * for all; {given!r} is none"
        )
    is_usual = found["port"] == _USUAL_PORTS.get(found["scheme"])
    return f"{found['scheme']}://{found['host']}{'' if is_usual or found['port'] is None else ':' + found['port']}"
