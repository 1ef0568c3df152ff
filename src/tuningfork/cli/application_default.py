"""`tuningfork auth application-default`: the commands of `auth`, spelled as gcloud spells them, and its files.

A file of credentials (Application Default Credentials) lets programs with Google's client libraries find their way to a
server without a line of their code about credentials.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuningfork.cli import auth, output
from tuningfork.cli.connection import ApiKey, Url, connect, login_for
from tuningfork.cli.help import Commands
from tuningfork.client.errors import ClientError
from tuningfork.domain.permission import LOCAL_PRINCIPAL
from tuningfork.domain.refresh_token import MAX_NAME_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuningfork.client import Client
    from tuningfork.client.revocable import RevocableEntry

application_default = Commands(None, "The same, spelled as gcloud spells it, and files of credentials for programs.")

ClientIdFile = Annotated[
    Path | None,
    typer.Option("--client-id-file", metavar="FILE", help="Taken because gcloud's command has it, and not read."),
]
AdcFile = Annotated[
    Path | None,
    typer.Option(
        "--adc",
        metavar="FILE",
        help="Also write a file of credentials. Programs with Google's client libraries find it by "
        "GOOGLE_APPLICATION_CREDENTIALS=FILE.",
    ),
]
Project = Annotated[
    str | None,
    typer.Option(
        metavar="PROJECT",
        show_default="the key's",
        help="With --adc: the project that programs name with their requests (quota_project_id).",
    ),
]
TokensAsJson = Annotated[bool, output.as_json_option('{"refreshTokens": [...]}; revoked ones have a "revokeTime"')]


@application_default.command("login")
def login(
    url: Url = None,
    api_key: ApiKey = None,
    scopes: auth.Scopes = None,
    adc: AdcFile = None,
    project: Project = None,
    client_id_file: ClientIdFile = None,
) -> None:
    """Check a key with a server and remember both for all commands, as `tuningfork auth login` does.

    With --adc also write a file of credentials for programs, with a refresh token for the key. Whoever has the file can
    do what the key can do, until `tuningfork auth application-default revoke`.
    """
    del client_id_file
    from tuningfork.client.refresh_tokens import check_credentials_place  # noqa: PLC0415 - `--help` does not need it

    if adc is None and project is not None:
        raise typer.BadParameter("--project is only written into the file that --adc names")
    if adc is not None:
        check_credentials_place(adc)
    auth.login(url, api_key, scopes)
    if adc is not None:
        known = login_for(url, api_key)
        with connect(known.url, known.api_key) as client:
            _write_credentials(client, adc.absolute(), project)


@application_default.command("list")
def list_refresh_tokens(*, as_json: TokensAsJson = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Show the refresh tokens in files of credentials: id, where it was written, key, when it was made or revoked.

    On a terminal as a table; elsewhere one line a token, its fields separated by tabs.
    """
    with connect(url, api_key) as client:
        found = client.refresh_tokens.list()
    show_revocables(found, "Refresh tokens", "refreshTokens", as_json=as_json)


application_default.command("print-access-token")(auth.print_access_token)


@application_default.command("revoke")
def revoke(
    token_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]",
            help="A refresh token's id, as `list` shows it. Left out, what was remembered here is forgotten.",
        ),
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Make a file of credentials useless from now on; without ID, log out as `tuningfork auth logout` does.

    An access token that a program has obtained with the file is good for the rest of its hour.
    """
    if token_id is None:
        auth.logout()
        return
    with connect(url, api_key) as client:
        client.refresh_tokens.revoke(token_id)


def _write_credentials(client: "Client", path: Path, project: str | None) -> None:
    from tuningfork.client.refresh_tokens import write_credentials  # noqa: PLC0415 - as above

    token = client.refresh_tokens.create(name_of(path))
    try:
        named = project_to_name(token.project, project)
        write_credentials(path, token, url=client.url, project=named)
    except BaseException:
        client.refresh_tokens.revoke(token.id)
        raise
    output.say(
        f"The credentials are in {path}, which only you can read. Programs find them by",
        f"  export GOOGLE_APPLICATION_CREDENTIALS={path}",
        f"and `tuningfork auth application-default revoke {token.id}` ends them.",
    )


def project_to_name(of_key: str, wanted: str | None) -> str:
    """The project to write into a file of credentials. A key that was made for a project is for no other.

    Args:
        of_key: the key's project.
        wanted: the one that was given; None: none was.

    Raises:
        ClientError: another project than the key's is wanted.

    """
    own = "" if of_key == LOCAL_PRINCIPAL.project else of_key
    if wanted is None or wanted == own:
        return own
    if own:
        raise ClientError(
            f"The key is for the project {own}, and {wanted} was given.",
            advice=f"Leave out --project, or make a key with `tuningfork keys create --project {wanted}`.",
        )
    return wanted


def name_of(path: Path) -> str:
    """The file's path, as the name of what is in it; of a long one, the end."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in str(path))
    return shown[-MAX_NAME_CHARACTERS:]


def show_revocables(found: "Sequence[RevocableEntry]", title: str, name: str, *, as_json: bool) -> None:
    """Print entries as JSON under this name, as a table with this title on a terminal, or elsewhere a line each."""
    if as_json:
        output.result_json({name: [each.answer for each in found]})
    elif output.is_for_a_person():
        from tuningfork.cli import tables  # noqa: PLC0415 - `--help` does not need it

        tables.show(title, ("id", "written to", "key", "made", "state"), [_row(each) for each in found])
    else:
        for each in found:
            output.result_row(*_row(each))


def _row(token: "RevocableEntry") -> tuple[str, ...]:
    made = f"{token.create_time:%Y-%m-%d %H:%M}Z"
    state = f"revoked {token.revoke_time:%Y-%m-%d %H:%M}Z" if token.revoke_time else "valid"
    return token.id, token.name or "-", token.key_id or "-", made, state
