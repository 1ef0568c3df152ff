"""What is stored of a service account: for which API key it is, and its public key, but never its private key."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import NewType

from tuningfork.domain.api_key import ApiKeyId

ServiceAccountId = NewType("ServiceAccountId", str)
"""The id by which a service account is listed and revoked, and by which assertions name their key: twelve characters of
[a-z0-9]."""

MAX_TOKEN_URI_CHARACTERS = 2_000
_AT = "@service-accounts.tuningfork"
_EMAIL = re.compile(rf"([a-z0-9]{{1,32}}){re.escape(_AT)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccount:
    """One service account: a program that signs assertions (RFC 7523) with a private key of its own.

    Access tokens that it obtains are those of the API key `key_id`, which is "" if a server that asks for no keys made
    the account. `name` says where it is used, such as a file's path. `token_uri` is the URL at which its program
    exchanges assertions, and the audience that they name.
    """

    id: ServiceAccountId
    name: str
    key_id: ApiKeyId
    token_uri: str
    create_time: datetime
    revoke_time: datetime | None = None

    @property
    def email(self) -> str:
        """The address by which assertions name their issuer. No mail reaches it."""
        return f"{self.id}{_AT}"


def named_by(issuer: object) -> ServiceAccountId | None:
    """The id of the service account that a token names as its issuer; None: the issuer is none of this server's."""
    found = _EMAIL.fullmatch(issuer) if isinstance(issuer, str) else None
    return None if found is None else ServiceAccountId(found[1])
