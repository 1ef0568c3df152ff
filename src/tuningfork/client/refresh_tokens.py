"""Refresh tokens: asked for, listed and revoked; and the file of credentials that is made of a new one.

Google's client libraries look for such a file (Application Default Credentials) where a program passes none. Of the
forms that it may have, `external_account_authorized_user` is the one whose address of tokens they all heed.
"""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tuningfork.client import answer_fields as fields
from tuningfork.client.answer_fields import Json
from tuningfork.client.revocable import Read, RevocableEntry, check_place, parse_entries, parse_entry, write_file

_PATH = "/tuningfork/v1/refreshTokens"
_KIND = "external_account_authorized_user"
_AUDIENCE = "//iam.googleapis.com/locations/global/workforcePools/tuningfork/providers/local"
"""Of the form that clients expect; nobody looks anything up by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRefreshToken:
    """A refresh token with its secrets. `project` is that of the API key that it was made for."""

    id: str
    client_id: str
    client_secret: str = field(repr=False)
    refresh_token: str = field(repr=False)
    project: str


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

    def list(self) -> "list[RevocableEntry]":
        """The refresh tokens of all keys of the key's holder, revoked ones too, the oldest first."""
        return self.read(partial(parse_entries, name="refreshTokens"), "GET", _PATH)

    def revoke(self, token_id: str) -> RevocableEntry:
        """Revoke a refresh token; again changes nothing.

        Raises:
            ServiceRefusal: the key's holder has none with this id.

        """
        return self.read(parse_entry, "POST", f"{_PATH}/{token_id}:revoke")


def check_credentials_place(path: Path) -> None:
    """Check that a file of credentials may be written here: nothing is there, or one that was written by this module.

    Raises:
        ClientError: something else is there.

    """

    def is_ours(content: Any) -> bool:
        return bool(content["type"] == _KIND and content["audience"] == _AUDIENCE)

    check_place(path, is_ours, kind="file of credentials", advice="Name another file with --adc.")


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
    write_file(path, content)


def _parse_new(answer: Json) -> NewRefreshToken:
    return NewRefreshToken(
        id=fields.name(answer, "id"),
        client_id=fields.name(answer, "clientId"),
        client_secret=fields.token(answer, "clientSecret"),
        refresh_token=fields.token(answer, "refreshToken"),
        project=fields.text(answer, "project", ""),
    )
