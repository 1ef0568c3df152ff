"""Which server a command talks to, and with which key."""

from typing import Annotated

import typer

from tuningfork.client import Client
from tuningfork.client.gemini import is_loopback

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
    """A client of the server at `url`; the caller closes it.

    The key in the local data directory is sent to this machine only: it is no other server's business.
    """
    if api_key is None and is_loopback(url):
        api_key = _key_left_by_first_start()
    return Client(url, api_key)


def _key_left_by_first_start() -> str | None:
    # A sixth of a second that commands with a key need not spend.
    from tuningfork.settings import Settings  # noqa: PLC0415

    try:
        return Settings().key_file.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
