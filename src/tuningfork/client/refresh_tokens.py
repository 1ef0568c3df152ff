"""Refresh tokens: asked for, listed and revoked; and the file of credentials that is made of a new one.

Google's client libraries look for such a file (Application Default Credentials) where a program passes none. Of the
forms that it may have, `external_account_authorized_user` is the one whose address of tokens they all heed.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tuningfork.client import answer_fields as fields
from tuningfork.client import private_file
from tuningfork.client.answer_fields import Json
from tuningfork.client.errors import ClientError

Parsed = TypeVar("Parsed")

_PATH = "/tuningfork/v1/refreshTokens"
_KIND = "external_account_authorized_user"
_AUDIENCE = "//iam.googleapis.com/locations/global/workforcePools/tuningfork/providers/local"
"""Of the form that clients expect; nobody looks anything up by it."""
_MOST_FILE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshTokenEntry:
    """One line of `refreshTokens.list`. `revoke_time` None: it is not revoked."""

    id: str
    name: str
    key_id: str
    create_time: datetime
    revoke_time: datetime | None
    answer: Json = field(default_factory=dict, repr=False, compare=False)
    """The JSON that it was read from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRefreshToken:
    """A refresh token with its secrets. `project` is that of the API key that it was made for."""

    id: str
    client_id: str
    client_secret: str = field(repr=False)
    refresh_token: str = field(repr=False)
    project: str


class Read(Protocol):
    """Calls a method of the server, and parses its answer."""

    def __call__(self, parse: Callable[[Json], Parsed], method: str, path: str, **sent: Any) -> Parsed:
        """The parsed answer."""
        ...


@dataclass(frozen=True, slots=True)
class RefreshTokenCalls:
    """The methods about the refresh tokens of the key's holder."""

    read: Read

    def create(self, name: str) -> NewRefreshToken:
        """A new refresh token for the key. `name` says where it is used.

        Raises:
            ServiceRefusal: the key is not valid, or its holder has too many refresh tokens.

        """
        return self.read(_parse_new, "POST", _PATH, json={"name": name})

    def list(self) -> "list[RefreshTokenEntry]":
        """The refresh tokens of all keys of the key's holder, revoked ones too, the oldest first."""
        return self.read(_parse_list, "GET", _PATH)

    def revoke(self, token_id: str) -> RefreshTokenEntry:
        """Revoke a refresh token; again changes nothing.

        Raises:
            ServiceRefusal: the key's holder has none with this id.

        """
        return self.read(_parse_entry, "POST", f"{_PATH}/{token_id}:revoke")


def check_place(path: Path) -> None:
    """Check that a file of credentials may be written here: nothing is there, or one that was written by this module.

    Raises:
        ClientError: something else is there.

    """
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(_MOST_FILE_BYTES))
        ours = content["type"] == _KIND and content["audience"] == _AUDIENCE
    except FileNotFoundError:
        return
    except OSError as error:
        raise ClientError(f"{path} cannot be used: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, RecursionError):
        ours = False
    if not ours:
        raise ClientError(
            f"{path} is there, and is no file of credentials for Tuningfork.", advice="Name another file with --adc."
        )


def write_credentials(path: Path, token: NewRefreshToken, *, url: str, project: str) -> None:
    """Write the file of credentials, which only its user can read.

    Args:
        path: the file.
        token: the refresh token.
        url: the server, as the clients that read the file reach it.
        project: the project that clients name with each request; "": none.

    Raises:
        ClientError: the file cannot be written.

    """
    server = url.rstrip("/")
    content = {
        "type": _KIND,
        "audience": _AUDIENCE,
        "client_id": token.client_id,
        "client_secret": token.client_secret,
        "refresh_token": token.refresh_token,
        "token_url": f"{server}/token",
        "token_info_url": f"{server}/introspect",
        **({"quota_project_id": project} if project else {}),
    }
    try:
        private_file.write(path, json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise ClientError(f"{path} cannot be written: {error.strerror}.") from error


def _parse_new(answer: Json) -> NewRefreshToken:
    return NewRefreshToken(
        id=fields.name(answer, "id"),
        client_id=fields.name(answer, "clientId"),
        client_secret=fields.token(answer, "clientSecret"),
        refresh_token=fields.token(answer, "refreshToken"),
        project=fields.text(answer, "project", ""),
    )


def _parse_entry(answer: Json) -> RefreshTokenEntry:
    return RefreshTokenEntry(
        id=fields.name(answer, "id"),
        name=fields.text(answer, "name", ""),
        key_id=fields.name(answer, "keyId", ""),
        create_time=fields.time(answer, "createTime"),
        revoke_time=fields.time(answer, "revokeTime") if "revokeTime" in answer else None,
        answer=answer,
    )


def _parse_list(answer: Json) -> list[RefreshTokenEntry]:
    return [_parse_entry(each) for each in fields.objects(answer, "refreshTokens")]
