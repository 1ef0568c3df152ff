"""What is stored of a refresh token (RFC 6749, section 1.5): for which API key, but neither of its two secrets."""

from dataclasses import dataclass
from datetime import datetime
from typing import NewType

from tuningfork.domain.api_key import ApiKeyId

RefreshTokenId = NewType("RefreshTokenId", str)
"""The id by which a refresh token is listed and revoked: twelve characters of [a-z0-9]."""

MAX_NAME_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshToken:
    """One refresh token. Access tokens that it is exchanged for are those of the key `key_id`.

    `key_id` is "" if a server that asks for no keys made it. `name` says where it is used, such as a file's path.
    """

    id: RefreshTokenId
    name: str
    key_id: ApiKeyId
    create_time: datetime
    revoke_time: datetime | None = None
