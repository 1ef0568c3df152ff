"""What the commands share: which server they talk to, with which key, and how they end when interrupted."""

from typing import Annotated

import typer

from tuningfork.client import Client
from tuningfork.client.gemini import is_loopback

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended: 128 and SIGINT's number, as shells have it."""

DEFAULT_URL = "http://127.0.0.1:8000"

Url = Annotated[str, typer.Option(envvar="TUNINGFORK_URL", help="The server: scheme, host and port.")]
ApiKey = Annotated[
    str | None,
    typer.Option(
        envvar="TUNINGFORK_API_KEY",
        show_default=False,
        help="The key to send. Left out, a server on this machine gets the key that its first start left in the "
        "data directory.",
    ),
]


def connect(url: str, api_key: str | None) -> Client:
    """A client of the server at `url`; the caller closes it."""
    return Client(url, key_for(url, api_key))


def key_for(url: str, given: str | None) -> str | None:
    """The given key, or for a server on this machine the one that its first start left; None if there is neither.

    The local key is sent to this machine only: it is no other server's business.
    """
    if given is not None or not is_loopback(url):
        return given
    # A sixth of a second that commands with a key need not spend.
    from tuningfork.settings import Settings  # noqa: PLC0415

    try:
        return Settings().key_file.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
