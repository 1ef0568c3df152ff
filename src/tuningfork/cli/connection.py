"""Shared by the commands that call a server: which server, with which key, and the exit code when interrupted."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuningfork.cli.operating import settings_of
from tuningfork.domain.user_directories import NoHomeDirectory, default_data_directory

if TYPE_CHECKING:
    # Importing the client takes a tenth of a second, which `--help` does not need to spend.
    from tuningfork.client import Client
    from tuningfork.client.login import Login

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended: 128 plus SIGINT's number, as in shells."""

LOCAL_URL = "http://127.0.0.1:8000"

DEFAULT_URL: str | None = None
"""None: the server of the last login, or else the local one."""

Url = Annotated[
    str | None,
    typer.Option(
        envvar="TUNINGFORK_URL",
        metavar="URL",
        show_default=f"that of `tuningfork auth login`, else {LOCAL_URL}",
        help="The server: scheme, host and port.",
    ),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        envvar="TUNINGFORK_API_KEY",
        metavar="KEY",
        show_default=False,
        help="The key to send. Left out, the one of `tuningfork auth login` for this server; else a server on this "
        "machine gets the key that its first start left in the data directory.",
    ),
]


def connect(url: str | None, api_key: str | None) -> "Client":
    """A client for this server, which the caller must close."""
    from tuningfork.client import Client  # noqa: PLC0415

    login = login_for(url, api_key)
    return Client(login.url, login.api_key)


def login_for(url: str | None, api_key: str | None) -> "Login":
    """The server to call and its key: as given, or else from the last login, or else as found on this machine.

    A key from a login is sent only to the server of that login, and a key of this machine only to this machine.
    """
    from tuningfork.client.login import Login  # noqa: PLC0415

    remembered = None if api_key is not None else _remembered()
    if remembered is not None and _same(url or remembered.url, remembered.url):
        return remembered
    chosen = url or LOCAL_URL
    return Login(url=chosen, api_key=key_for(chosen, api_key))


def key_for(url: str, given: str | None) -> str | None:
    """The given key, or for a server on this machine the key that its first start stored; None if there is neither."""
    from tuningfork.client.address import is_loopback  # noqa: PLC0415

    if given is not None or not is_loopback(url):
        return given
    try:
        return _key_file().read_text(encoding="utf-8").strip() or None
    except (OSError, NoHomeDirectory):
        return None


def _key_file() -> Path:
    """Where a server of this user leaves its first key."""
    try:
        return settings_of().key_file
    except ModuleNotFoundError:
        # Only a client is installed here; a server may be in another environment of this machine.
        named = os.environ.get("TUNINGFORK_DATA_DIR")
        return (Path(named) if named else default_data_directory()) / "api-key"


def _remembered() -> "Login | None":
    from tuningfork.client.login import LoginFile, credentials_file  # noqa: PLC0415

    try:
        return LoginFile(credentials_file()).login()
    except NoHomeDirectory:
        # Nothing can have been remembered.
        return None


def is_named_on_command_line(context: typer.Context, parameter: str) -> bool:
    """Whether an option or argument was typed, and does not come from a variable or a default."""
    source = context.get_parameter_source(parameter)
    return source is not None and source.name == "COMMANDLINE"


def _same(one: str, other: str) -> bool:
    return one.rstrip("/").lower() == other.rstrip("/").lower()
