"""Parses requests for service accounts, and renders the accounts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tuningfork.domain.service_account import ServiceAccount
from tuningfork.wire.google.proto_json.decode import decode
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.proto_json.text import read
from tuningfork.wire.google.requests import RequestWords

_REQUEST = "CreateServiceAccountRequest"

CREATE = RequestWords(_REQUEST, sentences=False)
"""The request's part of errors about a request for a service account."""

CREATE_SERVICE_ACCOUNT = Message(
    f"tuningfork.v1.{_REQUEST}", (Field(1, "name", Kind.STRING), Field(2, "token_uri", Kind.STRING))
)
SERVICE_ACCOUNT = Message(
    "tuningfork.v1.ServiceAccount",
    (
        Field(1, "id", Kind.STRING),
        Field(2, "name", Kind.STRING),
        Field(3, "key_id", Kind.STRING),
        Field(4, "email", Kind.STRING),
        Field(5, "token_uri", Kind.STRING),
        Field(6, "create_time", Kind.TIMESTAMP),
        Field(7, "revoke_time", Kind.TIMESTAMP),
        # Only the answer to the request that made it has these; the private key is stored nowhere.
        Field(8, "private_key", Kind.STRING),
        Field(9, "project", Kind.STRING),
    ),
)
SERVICE_ACCOUNTS = Message(
    "tuningfork.v1.ListServiceAccountsResponse", (Field(1, "service_accounts", SERVICE_ACCOUNT, repeated=True),)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedAccount:
    """The service account that a caller asks for. "" is what the request lacks."""

    name: str
    token_uri: str


def parse_wanted_account(body: bytes) -> WantedAccount:
    """The name and the token route's URL in a request.

    Raises:
        InvalidArgument: the body is not JSON, or has an unknown field.

    """
    fields = decode(CREATE_SERVICE_ACCOUNT, read(body))
    return WantedAccount(name=fields.get("name", ""), token_uri=fields.get("token_uri", ""))


def render_new(account: ServiceAccount, *, private_key: str, project: str) -> Typed:
    """The answer with a new service account and its private key. `project` is that of its API key."""
    return Typed(SERVICE_ACCOUNT, {**_fields(account), "private_key": private_key, "project": project})


def render_service_account(account: ServiceAccount) -> Typed:
    """A service account without its private key."""
    return Typed(SERVICE_ACCOUNT, _fields(account))


def render_service_accounts(accounts: Sequence[ServiceAccount]) -> Typed:
    """The list."""
    return Typed(SERVICE_ACCOUNTS, {"service_accounts": [_fields(each) for each in accounts]})


def _fields(account: ServiceAccount) -> dict[str, Any]:
    return {
        "id": account.id,
        "name": account.name,
        "key_id": account.key_id,
        "email": account.email,
        "token_uri": account.token_uri,
        "create_time": account.create_time,
        "revoke_time": account.revoke_time,
    }
