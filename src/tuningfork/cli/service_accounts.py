"""`tuningfork auth service-account`: key files of service accounts, for programs that take no other credentials."""

from pathlib import Path
from typing import Annotated

import typer

from tuningfork.cli import output
from tuningfork.cli.application_default import name_of, project_to_name, show_revocables
from tuningfork.cli.connection import ApiKey, Url, connect
from tuningfork.cli.help import Commands

service_accounts = Commands(None, "Key files of service accounts, for programs that take no other credentials.")

KeyFile = Annotated[Path, typer.Argument(metavar="FILE", help="The key file to write.")]
Project = Annotated[
    str | None,
    typer.Option(
        metavar="PROJECT",
        show_default="the key's",
        help="The project that programs name with their requests (project_id).",
    ),
]
AccountsAsJson = Annotated[bool, output.as_json_option('{"serviceAccounts": [...]}; revoked ones have a "revokeTime"')]


@service_accounts.command("create")
def create(file: KeyFile, project: Project = None, url: Url = None, api_key: ApiKey = None) -> None:
    """Make a service account for your key, and write its key file, which only you can read.

    Whoever has the file can do what the key can do, until `tuningfork auth service-account revoke`. The server keeps no
    copy of the private key in it.
    """
    from tuningfork.client.service_accounts import check_key_place, write_key_file  # noqa: PLC0415 - not for `--help`

    check_key_place(file)
    path = file.absolute()
    with connect(url, api_key) as client:
        account = client.service_accounts.create(name_of(path), client.url)
        try:
            write_key_file(path, account, url=client.url, project=project_to_name(account.project, project))
        except BaseException:
            client.service_accounts.revoke(account.id)
            raise
    output.say(
        f"The key of {account.email} is in {path}, which only you can read. Programs find it by",
        f"  export GOOGLE_APPLICATION_CREDENTIALS={path}",
        f"and `tuningfork auth service-account revoke {account.id}` ends it.",
    )


@service_accounts.command("list")
def list_service_accounts(*, as_json: AccountsAsJson = False, url: Url = None, api_key: ApiKey = None) -> None:
    """Show the service accounts: id, where the key file was written, key, when it was made or revoked.

    On a terminal as a table; elsewhere one line an account, its fields separated by tabs.
    """
    with connect(url, api_key) as client:
        found = client.service_accounts.list()
    show_revocables(found, "Service accounts", "serviceAccounts", as_json=as_json)


@service_accounts.command("revoke")
def revoke(
    account_id: Annotated[str, typer.Argument(metavar="ID", help="A service account's id, as `list` shows it.")],
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Make a key file useless from now on.

    An access token that a program has obtained with the file is good for the rest of its hour.
    """
    with connect(url, api_key) as client:
        client.service_accounts.revoke(account_id)
