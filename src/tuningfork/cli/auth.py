"""`tuningfork auth`: log in to a server once, and get access tokens for programs that want one.

The commands are spelled like gcloud's, including `application-default` (`cli/application_default.py`), so that a script
for Google's service works after its first word is replaced.
"""

import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from tuningfork.cli import output
from tuningfork.cli.connection import ApiKey, Url, connect, login_for
from tuningfork.cli.help import Commands
from tuningfork.client.errors import ClientError, ServiceRefusal

if TYPE_CHECKING:
    from tuningfork.client.dialect import AccessToken
    from tuningfork.client.login import Login, LoginFile

auth = Commands(None, "Log in to a server, and get access tokens.")

DEFAULT_SCOPES = (
    "https://www.googleapis.com/auth/cloud-platform",
    "https://www.googleapis.com/auth/generative-language.tuning",
)
"""The scopes that Google's tuning tutorial asks for."""

Scopes = Annotated[
    list[str] | None,
    typer.Option(
        "--scopes",
        metavar="SCOPE,...",
        show_default="those of the login, else cloud-platform and generative-language.tuning",
        help="What the tokens are good for, with or without https://www.googleapis.com/auth/.",
    ),
]
TokenAsJson = Annotated[bool, output.as_json_option('{"accessToken", "tokenType", "scopes": [...], "expireTime"}')]
StatusAsJson = Annotated[
    bool,
    output.as_json_option(
        '{"server", "key", "scopes": [...], "remembered"}, if the key is taken; the key is its beginning, or null'
    ),
]


@auth.command("login")
def login(url: Url = None, api_key: ApiKey = None, scopes: Scopes = None) -> None:
    """Check a key with a server and remember both for all commands.

    Without --api-key the key is asked for, unless the server is on this machine and has left one.
    """
    wanted = replace(login_for(url, api_key), scopes=_full(scopes) or DEFAULT_SCOPES)
    try:
        token = _token_of(wanted)
    except ServiceRefusal as refusal:
        if api_key is not None or not _is_about_the_key(refusal):
            raise
        wanted = replace(wanted, api_key=_typed_key(wanted.url))
        token = _token_of(wanted)
    file = _login_file()
    file.remember(wanted)
    file.keep_token(wanted, wanted.scopes, token)
    output.say(f"Logged in to {wanted.url}. The key is in {file.path}, which only you can read.")


@auth.command("print-access-token")
def print_access_token(
    *, scopes: Scopes = None, as_json: TokenAsJson = False, url: Url = None, api_key: ApiKey = None
) -> None:
    """Print an access token for `Authorization: Bearer`, and only it.

    It is good for an hour at most and for five minutes at least, and as long as its key is not revoked.
    """
    known = login_for(url, api_key)
    wanted = _full(scopes) or known.scopes or DEFAULT_SCOPES
    file = _login_file()
    token = file.token(known, wanted, datetime.now(UTC))
    if token is None:
        with connect(known.url, known.api_key) as client:
            token = client.create_access_token(wanted)
        file.keep_token(known, wanted, token)
    if as_json:
        kept = {"accessToken": token.value, "tokenType": "Bearer", "scopes": token.scopes}
        output.result_json({**kept, "expireTime": token.expire_time})
    else:
        output.result(token.value)


@auth.command("status")
def status(*, as_json: StatusAsJson = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Say which server the commands call, with which key, and whether it is taken there."""
    known = login_for(url, api_key)
    remembered = _login_file().login()
    scopes = known.scopes or DEFAULT_SCOPES
    key = None if known.api_key is None else f"{known.api_key[:8]}..."
    if not as_json:
        output.result_row("server", known.url)
        output.result_row("key", key or "none")
        output.result_row("scopes", ",".join(scopes))
        output.result_row("remembered", "yes" if known == remembered else "no")
    _token_of(replace(known, scopes=scopes))
    if as_json:
        output.result_json({"server": known.url, "key": key, "scopes": scopes, "remembered": known == remembered})
    else:
        output.result_row("taken", "yes")


@auth.command("logout")
def logout() -> None:
    """Forget the server, the key and all tokens. The key itself stays valid."""
    forgotten = _login_file().forget()
    output.say("Logged out." if forgotten else "Nobody was logged in.")


def _login_file() -> "LoginFile":
    from tuningfork.client.login import LoginFile, credentials_file  # noqa: PLC0415 - as above

    return LoginFile(credentials_file())


def _token_of(wanted: "Login") -> "AccessToken":
    with connect(wanted.url, wanted.api_key) as client:
        return client.create_access_token(wanted.scopes)


def _full(scopes: list[str] | None) -> tuple[str, ...]:
    """The full names of the scopes, which may be separated by commas, given in several options, or both."""
    # These imports take time that `--help` does not need to spend.
    from tuningfork.dialect.scopes import SCOPES  # noqa: PLC0415

    names = [name.strip() for text in scopes or () for name in text.split(",") if name.strip()]
    try:
        return tuple(dict.fromkeys(SCOPES.named(name) for name in names))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _is_about_the_key(refusal: ServiceRefusal) -> bool:
    return refusal.http_status in {400, 403} and not refusal.violations


def _typed_key(url: str) -> str:
    """The key that a person types or pastes, without showing it; or the key from a pipe."""
    if sys.stdin.isatty():
        return str(typer.prompt(f"API key for {url}", hide_input=True, err=True)).strip()
    key = sys.stdin.readline().strip()
    if not key:
        raise ClientError(
            f"There is no key for {url}.", advice="Pass one as --api-key; `tuningfork keys create` makes one."
        )
    return key
