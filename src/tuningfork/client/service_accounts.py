"""Service accounts: asked for, listed and revoked; and the key file that is made of a new one.

The file is of the type `service_account`, which many programs want that take no other file of credentials.
"""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tuningfork.client import answer_fields as fields
from tuningfork.client.answer_fields import Json
from tuningfork.client.revocable import Read, RevocableEntry, check_place, parse_entries, parse_entry, write_file

_PATH = "/tuningfork/v1/serviceAccounts"
_KIND = "service_account"
_OURS = "@service-accounts.tuningfork"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewServiceAccount:
    """A service account with its private key, in PEM. `project` is that of the API key that it was made for."""

    id: str
    email: str
    private_key: str = field(repr=False)
    project: str


@dataclass(frozen=True, slots=True)
class ServiceAccountCalls:
    """The methods about the service accounts of the key's holder."""

    read: Read

    def create(self, name: str, url: str) -> NewServiceAccount:
        """A new service account for the key. `name` says where it is used, `url` how its program reaches the server.

        Raises:
            ServiceRefusal: the key is not valid, or its holder has too many service accounts.

        """
        return self.read(_parse_new, "POST", _PATH, json={"name": name, "tokenUri": token_uri(url)})

    def list(self) -> "list[RevocableEntry]":
        """The service accounts of all keys of the key's holder, revoked ones too, the oldest first."""
        return self.read(partial(parse_entries, name="serviceAccounts"), "GET", _PATH)

    def revoke(self, account_id: str) -> RevocableEntry:
        """Revoke a service account; again changes nothing.

        Raises:
            ServiceRefusal: the key's holder has none with this id.

        """
        return self.read(parse_entry, "POST", f"{_PATH}/{account_id}:revoke")


def token_uri(url: str) -> str:
    """The URL of the token route of this server."""
    return f"{url.rstrip('/')}/token"


def check_key_place(path: Path) -> None:
    """Check that a key file may be written here: nothing is there, or one that was written by this module.

    Raises:
        ClientError: something else is there.

    """

    def is_ours(content: Any) -> bool:
        return bool(content["type"] == _KIND and content["client_email"].endswith(_OURS))

    check_place(path, is_ours, kind="key file", advice="Name another file.")


def write_key_file(path: Path, account: NewServiceAccount, *, url: str, project: str) -> None:
    """Write the key file, which only its user can read.

    Args:
        path: the file.
        account: the service account.
        url: the server, as the programs that read the file reach it.
        project: the project that programs name with their requests; "": none.

    Raises:
        ClientError: the file cannot be written.

    """
    content = {
        "type": _KIND,
        "project_id": project,
        "private_key_id": account.id,
        "private_key": account.private_key,
        "client_email": account.email,
        "client_id": account.id,
        "token_uri": token_uri(url),
        "universe_domain": "googleapis.com",
    }
    write_file(path, content)


def _parse_new(answer: Json) -> NewServiceAccount:
    return NewServiceAccount(
        id=fields.name(answer, "id"),
        email=fields.name(answer, "email"),
        private_key=fields.text(answer, "privateKey"),
        project=fields.text(answer, "project", ""),
    )
