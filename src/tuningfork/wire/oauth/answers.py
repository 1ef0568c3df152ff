"""Renders tokens, what is known of a token, and errors, in the JSON of RFC 6749 (section 5) and RFC 7662."""

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

Json = Mapping[str, Any]

INACTIVE: Json = {"active": False}
"""The answer about a token that is good for nothing, or not for the client that asks (RFC 7662, section 2.2)."""


class OAuthError(StrEnum):
    """The error codes of RFC 6749, section 5.2, and those of section 4.1.2.1 for faults of the server."""

    INVALID_REQUEST = "invalid_request"
    INVALID_CLIENT = "invalid_client"
    INVALID_GRANT = "invalid_grant"
    INVALID_SCOPE = "invalid_scope"
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type"
    SERVER_ERROR = "server_error"
    TEMPORARILY_UNAVAILABLE = "temporarily_unavailable"


HTTP_STATUS: Mapping[OAuthError, int] = {
    OAuthError.INVALID_CLIENT: 401,
    OAuthError.SERVER_ERROR: 500,
    OAuthError.TEMPORARILY_UNAVAILABLE: 503,
}
"""The statuses that are not 400."""


_UNPRINTED = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")
"""What no description may have (RFC 6749, section 5.2)."""


class OAuthFault(Exception):
    """A request about tokens that is refused. `description` tells programmers why, and has no secret."""

    def __init__(self, error: OAuthError, description: str) -> None:
        super().__init__(error, description)
        self.error = error
        self.description = _UNPRINTED.sub("?", description)

    @property
    def status(self) -> int:
        """The HTTP status of the answer."""
        return HTTP_STATUS.get(self.error, 400)


def render_token(value: str, lifetime_seconds: int, scopes: tuple[str, ...]) -> Json:
    """The answer with an access token."""
    return {
        "access_token": value,
        "expires_in": lifetime_seconds,
        "token_type": "Bearer",
        "scope": " ".join(scopes),
    }


def render_active(*, client_id: str, username: str, scopes: frozenset[str], expire_time: datetime | None) -> Json:
    """What is known of a token that is good (RFC 7662, section 2.2). `expire_time` None: it does not expire."""
    known = {"active": True, "scope": " ".join(sorted(scopes)), "client_id": client_id, "username": username}
    return known if expire_time is None else {**known, "token_type": "Bearer", "exp": int(expire_time.timestamp())}


def render_error(fault: OAuthFault) -> Json:
    """The answer to a request that is refused."""
    return {"error": fault.error.value, "error_description": fault.description}
