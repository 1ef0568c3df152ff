"""Assertions of service accounts: verifies them, and exchanges them for access tokens (RFC 7523).

A program signs an assertion with the private key of its service account, and exchanges it at the token route. Some
programs sign one and send it as their access token instead, without asking for one; such an assertion says which
service, or which scopes, it is for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from tuningfork.domain.authorization import KnownScopes
from tuningfork.domain.errors import ApiKeyNotValid, AssertionNotValid
from tuningfork.domain.permission import Grant, Principal
from tuningfork.domain.service_account import ServiceAccount, named_by
from tuningfork.service.identity.keys import Access
from tuningfork.service.identity.revocable import holder_of
from tuningfork.service.identity.tokens import (
    DEFAULT_LIFETIME,
    AccessToken,
    AccessTokens,
    check_times,
    unverified_header,
)
from tuningfork.store import service_accounts
from tuningfork.store.database import Database

MAX_LIFETIME = timedelta(hours=1)
"""The longest time from an assertion's `iat` to its `exp`."""

_ALGORITHM = "RS256"
_EXPIRED = "the assertion has expired; is the clock of its machine right?"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionAudiences:
    """What the claim `aud` of an assertion may be, besides the `token_uri` of its service account.

    `tokens` are names of the token route that programs write whatever their `token_uri` is. `services` are the names
    of services in assertions that are access tokens themselves, each with the scopes that it stands for.
    """

    tokens: frozenset[str] = frozenset()
    services: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertions:
    """Verifies assertions.

    `default_scopes` are those of an access token whose program asks for none.
    """

    database: Database
    clock: Callable[[], datetime]
    access: Access
    tokens: AccessTokens
    scopes: KnownScopes
    default_scopes: tuple[str, ...]
    audiences: AssertionAudiences

    def exchange(self, assertion: str) -> tuple[Principal, AccessToken]:
        """The holder of the service account's API key, and an access token for them.

        The access token expires when the assertion does, an hour from now at the latest. So an assertion that somebody
        reads on its way is good for nothing after an hour, however often it is sent.

        Raises:
            AssertionNotValid: the assertion is not signed by a service account, not for this route, or not valid now;
                or the service account, or its key, is revoked.
            InvalidArgument: none of the scopes that it asks for is one of this service.

        """
        account, claims = self._verified(assertion)
        if not {account.token_uri, *self.audiences.tokens}.intersection(_audiences(claims)):
            sent = _shown(claims.get("aud"))
            raise AssertionNotValid(f"the assertion's aud must be {account.token_uri}; {sent} was sent")
        if "target_audience" in claims:
            raise AssertionNotValid(
                "the assertion asks for an ID token (target_audience), and only access tokens are given"
            )
        holder = self._holder(account)
        remaining = datetime.fromtimestamp(claims["exp"], UTC) - self.clock()
        if remaining < timedelta(seconds=1):
            raise AssertionNotValid(_EXPIRED)
        wanted = self._wanted(claims) or _asked(claims) or self.default_scopes
        return holder, self.tokens.create(holder, wanted, min(remaining, DEFAULT_LIFETIME))

    def read_as_token(self, assertion: str) -> tuple[Principal, Grant]:
        """The holder of the service account's API key, and the rights of an assertion that was sent as access token.

        Raises:
            AssertionNotValid: as for `exchange`; it must be for a service of this server, or name scopes.

        """
        account, claims = self._verified(assertion)
        if not account.key_id:
            # Where keys are asked for, it would let in whoever called the server while it asked for none.
            raise AssertionNotValid(
                f"service account {account.id} was made by a server without keys, and is for no key"
            )
        meant = [scopes for name, scopes in self.audiences.services.items() if name in _audiences(claims)]
        # An assertion that names its scopes need not say which service it is for.
        if not meant and (claims.get("aud") is not None or "scope" not in claims):
            sent = _shown(claims.get("aud"))
            raise AssertionNotValid(f"the assertion's aud must be a service of this server; {sent} was sent")
        scopes = self._wanted(claims) if "scope" in claims else [scope for each in meant for scope in each]
        expire_time = datetime.fromtimestamp(claims["exp"], UTC)
        return self._holder(account), Grant(scopes=frozenset(scopes), expire_time=expire_time)

    def _verified(self, assertion: str) -> tuple[ServiceAccount, Mapping[str, Any]]:
        """The service account that signed an assertion, and the claims, of which audience and scope are unchecked."""
        try:
            header = unverified_header(assertion)
            account, public_key = self._account(jwt.decode(assertion, options={"verify_signature": False}).get("iss"))
            claims = jwt.decode(
                assertion,
                public_key,
                algorithms=[_ALGORITHM],
                # Times are checked below, against the clock of the service, and the audience by the callers.
                options={
                    "require": ["exp", "iat", "iss"],
                    "verify_aud": False,
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
            check_times(claims, self.clock())
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise AssertionNotValid(_sentence(error)) from error
        if header.get("kid", account.id) != account.id:
            raise AssertionNotValid(f"the assertion's kid must be {account.id}, the private_key_id of {account.email}")
        _check_claims(claims, account)
        return account, claims

    def _account(self, issuer: object) -> tuple[ServiceAccount, str]:
        """The service account that an assertion names, and its public key in PEM."""
        account_id = named_by(issuer)
        if account_id is None:
            raise AssertionNotValid(f"the assertion's iss is none of this server's service accounts: {_shown(issuer)}")
        with self.database.read() as connection:
            found = service_accounts.find(connection, account_id)
        if found is None:
            raise AssertionNotValid(f"the service account {_shown(issuer)} is unknown")
        if found[0].revoke_time is not None:
            raise AssertionNotValid(f"service account {account_id} is revoked")
        return found

    def _holder(self, account: ServiceAccount) -> Principal:
        try:
            return holder_of(self.access, account.key_id)
        except ApiKeyNotValid as error:
            raise AssertionNotValid(f"the API key of service account {account.id} is revoked") from error

    def _wanted(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        """The scopes that the assertion names and this service knows. Programs name others beside them."""
        return tuple(scope for scope in _asked(claims) if scope in self.scopes.names)


def _sentence(error: Exception) -> str:
    """What is wrong with an assertion that cannot be verified."""
    match error:
        case jwt.ExpiredSignatureError():
            return _EXPIRED
        case jwt.ImmatureSignatureError():
            return "the assertion is not valid yet; is the clock of its machine right?"
        case jwt.MissingRequiredClaimError():
            return f"the assertion has no {error.claim}"
        case jwt.InvalidSignatureError():
            return "the assertion is not signed with the private key of its service account"
    return f"the assertion is no JSON Web Token that is signed with {_ALGORITHM}"


def _check_claims(claims: Mapping[str, Any], account: ServiceAccount) -> None:
    if claims.get("sub", account.email) != account.email:
        raise AssertionNotValid(f"the assertion's sub must be {account.email} or absent: it acts for nobody else")
    lifetime = claims["exp"] - claims["iat"]
    if not 0 < lifetime <= MAX_LIFETIME.total_seconds():
        most = int(MAX_LIFETIME.total_seconds())
        raise AssertionNotValid(f"the assertion's exp must be at most {most} seconds after its iat; it is {lifetime:g}")


def _audiences(claims: Mapping[str, Any]) -> set[str]:
    given = claims.get("aud")
    return {each for each in (given if isinstance(given, list) else [given]) if isinstance(each, str)}


def _asked(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """The scopes that the claim names, each once."""
    given = claims.get("scope", "")
    if not isinstance(given, str):
        raise AssertionNotValid("the assertion's scope is no text")
    return tuple(dict.fromkeys(given.split()))


def _shown(value: object) -> str:
    return f"{value!a}"[:200]
