"""What the commands of clients share: which server they talk to, with which key, how they end when interrupted."""

from typing import Annotated

import typer

from tuningfork.client import Client
from tuningfork.client.gemini import is_loopback
from tuningfork.client.login import Login, LoginFile, credentials_file

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended: 128 and SIGINT's number, as shells have it."""

LOCAL_URL = "http://127.0.0.1:8000"

DEFAULT_URL: str | None = None
"""No server was named: that of the login that is remembered, or else the local one."""

Url = Annotated[
    str | None,
    typer.Option(
        envvar="TUNINGFORK_URL",
        show_default=f"that of `tuningfork auth login`, else {LOCAL_URL}",
        help="The server: scheme, host and port.",
    ),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        envvar="TUNINGFORK_API_KEY",
        show_default=False,
        help="The key to send. Left out, the one of `tuningfork auth login` for this server; else a server on this "
        "machine gets the key that its first start left in the data directory.",
    ),
]


def connect(url: str | None, api_key: str | None) -> Client:
    """A client of this server; the caller closes it."""
    login = login_for(url, api_key)
    return Client(login.url, login.api_key)


def login_for(url: str | None, api_key: str | None) -> Login:
    """The server to call and the key for it: as given, or else as remembered, or else as found on this machine.

    A remembered key is sent to the server that it was remembered for, and a local one to this machine: they are no
    other server's business.
    """
    remembered = None if api_key is not None else LoginFile(credentials_file()).login()
    if remembered is not None and _same(url or remembered.url, remembered.url):
        return remembered
    chosen = url or LOCAL_URL
    return Login(url=chosen, api_key=key_for(chosen, api_key))


def key_for(url: str, given: str | None) -> str | None:
    """The given key, or for a server on this machine the one that its first start left; None if there is neither."""
    if given is not None or not is_loopback(url):
        return given
    # A sixth of a second that commands with a key need not spend.
    from tuningfork.settings import Settings  # noqa: PLC0415

    try:
        return Settings().key_file.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _same(one: str, other: str) -> bool:
    return one.rstrip("/").lower() == other.rstrip("/").lower()
