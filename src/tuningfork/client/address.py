"""Where a server is and what it is called with: checks URLs and keys before anything is sent."""

import httpx

from tuningfork.client.errors import ClientError
from tuningfork.domain import loopback


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine itself."""
    try:
        host = httpx.URL(url).host
    except httpx.InvalidURL:
        return False
    return loopback.is_loopback(host)


def checked_url(url: str) -> httpx.URL:
    """The URL of a server.

    Raises:
        ClientError: it is none.

    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ClientError(f"{url!r} is not a URL: {error}.", advice="Write it like http://127.0.0.1:8000.") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ClientError(f"{url!r} names no server.", advice="Write it like http://127.0.0.1:8000.")
    return parsed


def checked_key(api_key: str) -> str:
    """The key, which a header can hold.

    Raises:
        ClientError: it has characters that no key has.

    """
    if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise ClientError(
            "The API key is empty, or holds blanks or characters that no key has.",
            advice="Copy it again, or make a new one with `tuningfork keys create`.",
        )
    return api_key
