"""An API key as it may be shown: who it speaks for, and never the key itself."""

from dataclasses import dataclass
from datetime import datetime
from typing import NewType

from tuningfork.domain.permission import Principal

ApiKeyId = NewType("ApiKeyId", str)
"""Twelve characters of [a-z0-9], by which a key is listed and revoked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """One key. `prefix` is the key's first characters, enough to recognise it and too few to use it."""

    id: ApiKeyId
    name: str
    principal: Principal
    prefix: str
    create_time: datetime
    revoke_time: datetime | None = None
