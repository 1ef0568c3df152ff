"""`tuningfork auth`: log in to a server once, and get access tokens for programs that want one.

The commands are spelled as gcloud's are, `application-default` included, so that what was written for Google's service
needs another first word and nothing else.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tuningfork.cli.connection import ApiKey, Url, connect, login_for
from tuningfork.client import ClientError, ServiceRefusal
from tuningfork.client.dialect import AccessToken
from tuningfork.client.login import Login, LoginFile, credentials_file
from tuningfork.domain.authorization import Scope

auth = typer.Typer(help="Log in to a server, and get access tokens.", no_args_is_help=True, rich_markup_mode=None)
application_default = typer.Typer(
    help="The same, spelled as gcloud spells it.", no_args_is_help=True, rich_markup_mode=None
)

DEFAULT_SCOPES = (Scope.CLOUD_PLATFORM.value, Scope.TUNING.value)
"""Those that the tutorial asks for."""

Scopes = Annotated[
    list[str] | None,
    typer.Option(
        "--scopes",
        metavar="SCOPE,...",
        show_default="those of the login, else cloud-platform and generative-language.tuning",
        help="What the tokens are good for, with or without https://www.googleapis.com/auth/.",
    ),
]
ClientIdFile = Annotated[
    Path | None, typer.Option("--client-id-file", help="Taken because gcloud's command has it, and not read.")
]


@auth.command("login")
def login(url: Url = None, api_key: ApiKey = None, scopes: Scopes = None) -> None:
    """Check a key with a server and remember both for all commands.

    Without --api-key the key is asked for, unless the server is on this machine and has left one.
    """
    wanted = login_for(url, api_key)
    wanted = Login(url=wanted.url, api_key=wanted.api_key, scopes=_full(scopes) or DEFAULT_SCOPES)
    try:
        token = _token_of(wanted)
    except ServiceRefusal as refusal:
        if api_key is not None or not _is_about_the_key(refusal):
            raise
        wanted = Login(url=wanted.url, api_key=_typed_key(wanted.url), scopes=wanted.scopes)
        token = _token_of(wanted)
    file = LoginFile(credentials_file())
    file.remember(wanted)
    file.keep_token(wanted, wanted.scopes, token)
    _say(f"Logged in to {wanted.url}. The key is in {file.path}, which only you can read.")


@auth.command("print-access-token")
def print_access_token(scopes: Scopes = None, url: Url = None, api_key: ApiKey = None) -> None:
    """Print an access token for `Authorization: Bearer`, and only it.

    It is good for an hour at most and for five minutes at least, and as long as its key is not revoked.
    """
    known = login_for(url, api_key)
    wanted = _full(scopes) or known.scopes or DEFAULT_SCOPES
    file = LoginFile(credentials_file())
    value = file.token(known, wanted, datetime.now(UTC))
    if value is None:
        with connect(known.url, known.api_key) as client:
            token = client.create_access_token(wanted)
        file.keep_token(known, wanted, token)
        value = token.value
    typer.echo(value)


@auth.command("status")
def status(url: Url = None, api_key: ApiKey = None) -> None:
    """Say which server the commands call, with which key, and whether it is taken there."""
    known = login_for(url, api_key)
    remembered = LoginFile(credentials_file()).login()
    typer.echo(f"server\t{known.url}")
    typer.echo(f"key\t{'none' if known.api_key is None else f'{known.api_key[:8]}...'}")
    typer.echo(f"scopes\t{','.join(known.scopes or DEFAULT_SCOPES)}")
    typer.echo(f"remembered\t{'yes' if known == remembered else 'no'}")
    _token_of(Login(url=known.url, api_key=known.api_key, scopes=known.scopes or DEFAULT_SCOPES))
    typer.echo("taken\tyes")


@auth.command("logout")
def logout() -> None:
    """Forget the server, the key and all tokens. The key itself stays valid."""
    forgotten = LoginFile(credentials_file()).forget()
    _say("Logged out." if forgotten else "Nobody was logged in.")


@application_default.command("login")
def login_as_gcloud_does(
    url: Url = None, api_key: ApiKey = None, scopes: Scopes = None, client_id_file: ClientIdFile = None
) -> None:
    """Check a key with a server and remember both for all commands, as `tuningfork auth login` does."""
    del client_id_file
    login(url, api_key, scopes)


application_default.command("print-access-token")(print_access_token)
application_default.command("revoke")(logout)
auth.add_typer(application_default, name="application-default")


def _token_of(wanted: Login) -> AccessToken:
    with connect(wanted.url, wanted.api_key) as client:
        return client.create_access_token(wanted.scopes)


def _full(scopes: list[str] | None) -> tuple[str, ...]:
    """The scopes by their full names; they come in one option with commas, in several, or both."""
    names = [name.strip() for text in scopes or () for name in text.split(",") if name.strip()]
    try:
        return tuple(dict.fromkeys(Scope.named(name).value for name in names))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _is_about_the_key(refusal: ServiceRefusal) -> bool:
    return refusal.http_status in {400, 403} and not refusal.violations


def _typed_key(url: str) -> str:
    """The key that a person types or pastes, unseen, or that comes through a pipe."""
    if sys.stdin.isatty():
        return str(typer.prompt(f"API key for {url}", hide_input=True, err=True)).strip()
    key = sys.stdin.readline().strip()
    if not key:
        raise ClientError(
            f"There is no key for {url}.", advice="Pass one as --api-key; `tuningfork keys create` makes one."
        )
    return key


def _say(sentence: str) -> None:
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(sentence)
