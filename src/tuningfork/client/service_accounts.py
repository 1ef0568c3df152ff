"""Service accounts: asked for, listed and revoked; and the key file that is made of a new one.

The file is of the type `service_account`, which many programs want that take no other file of credentials.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tuningfork.client import answer_fields as fields
from tuningfork.client import private_file
from tuningfork.client.answer_fields import Json
from tuningfork.client.errors import ClientError
from tuningfork.client.refresh_tokens import Read

_PATH = "/tuningfork/v1/serviceAccounts"
_KIND = "service_account"
_OURS = "@service-accounts.tuningfork"
_MOST_FILE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccountEntry:
    """One line of `serviceAccounts.list`. `revoke_time` None: it is not revoked."""

    id: str
    name: str
    key_id: str
    create_time: datetime
    revoke_time: datetime | None
    answer: Json = field(default_factory=dict, repr=False, compare=False)
    """The JSON that it was read from."""


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

    def list(self) -> "list[ServiceAccountEntry]":
        """The service accounts of all keys of the key's holder, revoked ones too, the oldest first."""
        return self.read(_parse_list, "GET", _PATH)

    def revoke(self, account_id: str) -> ServiceAccountEntry:
        """Revoke a service account; again changes nothing.

        Raises:
            ServiceRefusal: the key's holder has none with this id.

        """
        return self.read(_parse_entry, "POST", f"{_PATH}/{account_id}:revoke")


def token_uri(url: str) -> str:
    """The URL of the token route of this server."""
    return f"{url.rstrip('/')}/token"


def check_key_place(path: Path) -> None:
    """Check that a key file may be written here: nothing is there, or one that was written by this module.

    Raises:
        ClientError: something else is there.

    """
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(_MOST_FILE_BYTES))
        ours = content["type"] == _KIND and content["client_email"].endswith(_OURS)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ClientError(f"{path} cannot be used: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        ours = False
    if not ours:
        raise ClientError(f"{path} is there, and is no key file for Tuningfork.", advice="Name another file.")


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
    try:
        private_file.write(path, json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise ClientError(f"{path} cannot be written: {error.strerror}.") from error


def _parse_new(answer: Json) -> NewServiceAccount:
    return NewServiceAccount(
        id=fields.name(answer, "id"),
        email=fields.name(answer, "email"),
        private_key=fields.text(answer, "privateKey"),
        project=fields.text(answer, "project", ""),
    )


def _parse_entry(answer: Json) -> ServiceAccountEntry:
    return ServiceAccountEntry(
        id=fields.name(answer, "id"),
        name=fields.text(answer, "name", ""),
        key_id=fields.name(answer, "keyId", ""),
        create_time=fields.time(answer, "createTime"),
        revoke_time=fields.time(answer, "revokeTime") if "revokeTime" in answer else None,
        answer=answer,
    )


def _parse_list(answer: Json) -> list[ServiceAccountEntry]:
    return [_parse_entry(each) for each in fields.objects(answer, "serviceAccounts")]
