"""What is stored of an API key: its holder and its id, but never the key itself."""

from dataclasses import dataclass
from datetime import datetime
from typing import NewType

from tuningfork.domain.permission import Principal

ApiKeyId = NewType("ApiKeyId", str)
"""The id by which a key is listed and revoked: twelve characters of [a-z0-9]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """One key. `prefix` is the key's first characters, by which its holder can recognise it."""

    id: ApiKeyId
    name: str
    principal: Principal
    prefix: str
    create_time: datetime
    revoke_time: datetime | None = None
