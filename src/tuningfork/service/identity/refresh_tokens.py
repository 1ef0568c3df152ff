"""Refresh tokens: secrets that programs keep in a file, and exchange for access tokens of an API key.

They are for programs that look for Application Default Credentials. An exchanged access token can do what the key can
do, within its scopes. A refresh token does not expire; it ends when it is revoked, or when its key is.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tuningfork.domain.api_key import ApiKeyId
from tuningfork.domain.errors import ApiKeyNotValid, ClientNotValid, NotFound, RefreshTokenNotValid, TokenNotValid
from tuningfork.domain.ids import ID_BITS, random_id
from tuningfork.domain.permission import Email, Principal
from tuningfork.domain.refresh_token import RefreshToken, RefreshTokenId
from tuningfork.service.identity.keys import KEY_PREFIX, Access
from tuningfork.service.identity.revocable import Kind, check_name, has_keyless, holder_of, surplus
from tuningfork.service.identity.tokens import AccessToken, AccessTokens
from tuningfork.store import refresh_tokens as rows
from tuningfork.store.database import Database, Transaction, lock_name
from tuningfork.store.refresh_tokens import SecretHashes

CLIENT_ID = "tuningfork"
"""The client id of every refresh token; what tells programs apart is the client secret."""

_KIND = Kind("refresh tokens", "auth application-default")
_TOKEN_PREFIX = f"{KEY_PREFIX}refresh_"
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRefreshToken:
    """A new refresh token. Its two secrets are known only here; the database keeps their hashes."""

    token: RefreshToken
    value: str = field(repr=False)
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentClient:
    """The client that a program says to be, not yet checked. "" is what it did not send."""

    id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentGrant:
    """A refresh token as a program sent it, not yet checked."""

    client: SentClient
    refresh_token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownToken:
    """A token that is good: its holder, its scopes, and when it expires; None: it does not."""

    holder: Principal
    scopes: frozenset[str]
    expire_time: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshTokens:
    """Makes, exchanges, lists and revokes refresh tokens.

    `default_scopes` are those of an access token whose program asks for none. A person's refresh tokens are those of
    all keys with their address.
    """

    database: Database
    clock: Callable[[], datetime]
    access: Access
    tokens: AccessTokens
    default_scopes: tuple[str, ...]

    def create(self, principal: Principal, name: str) -> NewRefreshToken:
        """Make a refresh token for the key that `principal.credential` names.

        A person has at most a hundred. For a further one, the one that was revoked first is forgotten.

        Raises:
            InvalidArgument: the name is too long, or not printable.
            ResourceExhausted: the person has a hundred that are not revoked.

        """
        check_name(name)
        made = NewRefreshToken(
            token=RefreshToken(
                id=RefreshTokenId(random_id(secrets.randbits(ID_BITS))),
                name=name,
                key_id=ApiKeyId(principal.credential),
                create_time=self.clock(),
            ),
            value=_TOKEN_PREFIX + secrets.token_urlsafe(_SECRET_BYTES),
            client_secret=secrets.token_urlsafe(_SECRET_BYTES),
        )
        hashes = SecretHashes(token=_hash(made.value), client_secret=_hash(made.client_secret))
        with self.database.write() as connection:
            lock_name(connection, f"refresh tokens of {principal.email}")
            _make_room(connection, principal.email)
            rows.insert(connection, made.token, hashes)
        return made

    def list(self, principal: Principal) -> Sequence[RefreshToken]:
        """All refresh tokens of a person, revoked ones too, the oldest first."""
        with self.database.read() as connection:
            return _of(connection, principal.email)

    def revoke(self, principal: Principal, token_id: RefreshTokenId) -> RefreshToken:
        """Refuse a person's refresh token from now on; revoking again changes nothing.

        Access tokens that it was exchanged for before stay valid for the rest of their hour.

        Raises:
            NotFound: the person has no refresh token with this id.

        """
        email = principal.email
        with self.database.write() as connection:
            rows.revoke(connection, token_id, email, self.clock(), keyless=has_keyless(email))
            found = [each for each in _of(connection, email) if each.id == token_id]
        if not found:
            raise NotFound(f"Refresh token {token_id} does not exist; `auth application-default list` shows the ids.")
        return found[0]

    def exchange(self, sent: SentGrant, scopes: tuple[str, ...] = ()) -> tuple[Principal, AccessToken]:
        """The holder of the refresh token's key, and an access token for them.

        Args:
            sent: what the program sent.
            scopes: the scopes that it asks for; (): the default scopes.

        Raises:
            ClientNotValid: the client id is another one, or the client secret is not the refresh token's.
            RefreshTokenNotValid: the refresh token is unknown or revoked, or its key is.
            InvalidArgument: a scope is unknown.

        """
        holder = self._holder(sent)
        return holder, self.tokens.create(holder, scopes or self.default_scopes)

    def introspect(self, client: SentClient, token: str) -> KnownToken | None:
        """What is known of a token that the client's own API key is good for; None: nothing, or the token is not good.

        Args:
            client: the client that asks, which has a refresh token.
            token: an access token, or the client's refresh token.

        Raises:
            ClientNotValid: there is no such client.

        """
        _check_client_id(client.id)
        with self.database.read() as connection:
            found = rows.find_client(connection, _hash(client.secret))
        if found is None:
            raise ClientNotValid("the client secret is unknown")
        asking, hashes = found
        try:
            if hmac.compare_digest(_hash(token), hashes.token):
                scopes, expire_time = frozenset(self.default_scopes), None
            else:
                claims = self.tokens.read(token)
                scopes, expire_time = claims.scopes, claims.expire_time
                if claims.key_id != asking.key_id:
                    return None
            return KnownToken(holder=self._holder_of(asking), scopes=scopes, expire_time=expire_time)
        except (TokenNotValid, RefreshTokenNotValid):
            return None

    def _holder(self, sent: SentGrant) -> Principal:
        _check_client_id(sent.client.id)
        with self.database.read() as connection:
            found = rows.find(connection, _hash(sent.refresh_token))
        if found is None:
            raise RefreshTokenNotValid("the refresh token is unknown")
        token, hashes = found
        if not hmac.compare_digest(_hash(sent.client.secret), hashes.client_secret):
            raise ClientNotValid(f"the client secret is not that of refresh token {token.id}")
        return self._holder_of(token)

    def _holder_of(self, token: RefreshToken) -> Principal:
        if token.revoke_time is not None:
            raise RefreshTokenNotValid(f"refresh token {token.id} is revoked")
        try:
            return holder_of(self.access, token.key_id)
        except ApiKeyNotValid as error:
            raise RefreshTokenNotValid(f"the API key of refresh token {token.id} is revoked") from error


def _check_client_id(sent: str) -> None:
    if sent != CLIENT_ID:
        raise ClientNotValid(f"the client id must be {CLIENT_ID}, with its secret; {sent[:60]!a} was sent")


def _make_room(connection: Transaction, email: Email) -> None:
    rows.forget(connection, [each.id for each in surplus(_of(connection, email), _KIND, email)])


def _of(connection: Transaction, email: Email) -> Sequence[RefreshToken]:
    return rows.of_person(connection, email, keyless=has_keyless(email))


def _hash(secret: str) -> str:
    # As with API keys: 256 random bits cannot be guessed, so they need no slow hash.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
