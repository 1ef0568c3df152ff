"""What is stored of a session: a credential that a person's browser keeps instead of an API key."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NewType

from tuningfork.domain.api_key import ApiKeyId
from tuningfork.domain.permission import Email

SessionId = NewType("SessionId", str)
"""The id by which a session is listed and ended: twelve characters of [a-z0-9]."""

LIFETIME = timedelta(days=14)
"""How long a session lasts that was begun with an API key."""

ISSUERS_LIFETIME = timedelta(hours=12)
"""How long one lasts that was begun with an external issuer's token: the issuer is not asked again whether the person
may still come in."""

MOST_FOR_EACH_PERSON = 100

MAX_NAME_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One session: whose it is, and from what it was begun.

    `key_id` is that of the API key that it was begun with, whose rights it has; "": it was begun with an external
    issuer's token. `scopes` are those of the access token that it was begun with; None: it was begun with a key, which
    has no scopes. `display_name` says where it is used, such as a browser's name.
    """

    id: SessionId
    display_name: str
    email: Email
    key_id: ApiKeyId
    scopes: frozenset[str] | None
    create_time: datetime
    expire_time: datetime

    def is_over(self, now: datetime) -> bool:
        """Whether it has expired at this time."""
        return self.expire_time <= now
