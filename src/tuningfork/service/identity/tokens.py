"""Access tokens: made for the holder of an API key, signed, and accepted until they expire.

A token is a JSON Web Token (RFC 7519) in the profile of RFC 9068, signed with HMAC-SHA256 by a secret in the database.
Tokens are not stored: to check one, only the API key that it was made for is looked up.
"""

import secrets
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from tuningfork.domain.api_key import ApiKeyId
from tuningfork.domain.authorization import KnownScopes
from tuningfork.domain.errors import FieldViolation, InvalidArgument, Reason, TokenNotValid
from tuningfork.domain.permission import Principal
from tuningfork.store import signing_keys
from tuningfork.store.database import Database, lock_name
from tuningfork.store.signing_keys import SigningKey

ISSUER = "tuningfork"
DEFAULT_LIFETIME = timedelta(hours=1)
MAX_LIFETIME = timedelta(hours=12)
LEEWAY_SECONDS = 30
"""How much the clocks of servers on one database may differ."""

_ALGORITHM = "HS256"
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A new access token. Its value is known only here, since tokens are not stored.

    `expire_time` is `lifetime` from now, rounded down to whole seconds.
    """

    value: str = field(repr=False)
    scopes: tuple[str, ...]
    lifetime: timedelta
    expire_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenClaims:
    """The verified content of a token: the id of the API key that it was made for, its scopes, and when it expires.

    `key_id` is "" if the server asked for no keys when it made the token.
    """

    key_id: ApiKeyId
    scopes: frozenset[str]
    expire_time: datetime


class AccessTokens:
    """Makes and verifies the access tokens of all servers on one database.

    Args:
        database: holds the secrets that tokens are signed with.
        clock: the time now, timezone-aware.
        scopes: the scopes that a token can have.
        audience: the name by which clients know the service, written into each token.

    """

    def __init__(
        self, database: Database, clock: Callable[[], datetime], *, scopes: KnownScopes, audience: str
    ) -> None:
        self._database = database
        self._clock = clock
        self._scopes = scopes
        self._audience = audience
        self._keys: Mapping[str, SigningKey] = {}
        self._making_key = threading.Lock()

    def create(self, principal: Principal, scopes: tuple[str, ...], lifetime: timedelta | None = None) -> AccessToken:
        """Make a token for the holder of an API key.

        Args:
            principal: the key's holder; `credential` is the key's id.
            scopes: at least one scope, each in full or without the prefix that all scopes have.
            lifetime: how long the token is valid; None: one hour.

        Raises:
            InvalidArgument: a scope is unknown, there is no scope, or the lifetime is not one second to twelve hours.

        """
        lifetime = DEFAULT_LIFETIME if lifetime is None else lifetime
        granted = _checked(self._scopes, scopes, lifetime)
        now = self._clock()
        # Rounded down to whole seconds, as the claim `exp` is.
        expire_time = (now + lifetime).replace(microsecond=0)
        claims = {
            "iss": ISSUER,
            "aud": self._audience,
            "sub": principal.email,
            "email": principal.email,
            "project": principal.project,
            "scope": " ".join(granted),
            "key": principal.credential,
            "jti": secrets.token_urlsafe(12),
            "iat": int(now.timestamp()),
            "exp": int(expire_time.timestamp()),
        }
        key = self._signing_key()
        value = jwt.encode(claims, key.secret, _ALGORITHM, headers={"kid": key.id, "typ": "at+jwt"})
        return AccessToken(value=value, scopes=granted, lifetime=lifetime, expire_time=expire_time)

    def read(self, token: str) -> TokenClaims:
        """Verify a token and return its content.

        Raises:
            TokenNotValid: the token was not made by a server on this database, or has expired.

        """
        try:
            key = self._key_of(unverified_header(token).get("kid"))
            claims = jwt.decode(
                token,
                key.secret,
                algorithms=[_ALGORITHM],
                issuer=ISSUER,
                audience=self._audience,
                # Times are checked below, against the clock of the service.
                options={"require": ["exp", "iat"], "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            check_times(claims, self._clock())
            return TokenClaims(
                key_id=ApiKeyId(_text(claims, "key")),
                scopes=frozenset(_text(claims, "scope").split()),
                expire_time=datetime.fromtimestamp(claims["exp"], UTC),
            )
        except (jwt.PyJWTError, KeyError, RecursionError) as error:
            raise TokenNotValid from error

    def _key_of(self, key_id: object) -> SigningKey:
        """The signing key that a token names, even if another server has made the key in the meantime.

        Raises:
            KeyError: there is no such key.

        """
        if not isinstance(key_id, str):
            raise KeyError(key_id)
        if key_id not in self._keys:
            self._reread()
        return self._keys[key_id]

    def _signing_key(self) -> SigningKey:
        """The newest signing key. If there is none, the first thread of all servers that needs one makes it."""
        with self._making_key:
            if not self._keys:
                self._reread()
            if not self._keys:
                self._make()
                self._reread()
        return max(self._keys.values(), key=lambda key: (key.create_time, key.id))

    def _make(self) -> None:
        key = SigningKey(id=secrets.token_hex(8), secret=secrets.token_bytes(_SECRET_BYTES), create_time=self._clock())
        with self._database.write() as connection:
            lock_name(connection, "the first signing key")
            if not signing_keys.all_of_them(connection):
                signing_keys.insert(connection, key)

    def _reread(self) -> None:
        with self._database.read() as connection:
            self._keys = {key.id: key for key in signing_keys.all_of_them(connection)}


def unverified_header(token: str) -> Mapping[str, Any]:
    """A token's header, to find the key that verifies the token. Nothing in it is verified.

    Raises:
        jwt.InvalidTokenError: the text is not a JSON Web Token.

    """
    if not token.isascii():
        raise jwt.InvalidTokenError("tokens are ASCII")
    return jwt.get_unverified_header(token)


def unverified_issuer(token: str) -> object:
    """The issuer that a token names, to find the keys that verify the token. It is not verified.

    Raises:
        TokenNotValid: the text is not a JSON Web Token.

    """
    try:
        unverified_header(token)
        return jwt.decode(token, options={"verify_signature": False}).get("iss")
    # An attacker may send JSON that is nested thousands of levels deep, which ends in a RecursionError.
    except (jwt.PyJWTError, RecursionError) as error:
        raise TokenNotValid from error


def check_times(claims: Mapping[str, Any], now: datetime) -> None:
    """Check a token's claims `exp`, `nbf` and `iat` against a clock that may be wrong by `LEEWAY_SECONDS`.

    Raises:
        jwt.InvalidTokenError: the token has expired, is not valid yet, was made in the future, or a claim is no time.

    """
    moment = now.astimezone(UTC).timestamp()
    for name in ("exp", "nbf", "iat"):
        given = claims.get(name, 0)
        # Also refuses NaN, and integers that are too large to be converted to a float.
        if not (isinstance(given, int | float) and abs(given) <= sys.float_info.max):
            raise jwt.InvalidTokenError(f"{name} is no time")
    if claims["exp"] <= moment - LEEWAY_SECONDS:
        raise jwt.ExpiredSignatureError
    if max(claims.get("nbf", 0), claims.get("iat", 0)) > moment + LEEWAY_SECONDS:
        raise jwt.ImmatureSignatureError


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims[name]
    if not isinstance(value, str):
        raise jwt.InvalidTokenError(f"{name} is no text")
    return value


def _checked(known: KnownScopes, scopes: tuple[str, ...], lifetime: timedelta) -> tuple[str, ...]:
    """The full names of these scopes, each once.

    Raises:
        InvalidArgument: see `AccessTokens.create`.

    """
    found: list[FieldViolation] = []
    granted: dict[str, None] = {}
    for index, text in enumerate(scopes):
        try:
            granted[known.named(text)] = None
        except ValueError as error:
            found.append(FieldViolation(field=f"scopes[{index}]", description=str(error), reason=Reason.NOT_ALLOWED))
    if not scopes:
        described = f"name at least one scope of {', '.join(known.names)}"
        found.append(FieldViolation(field="scopes", description=described, reason=Reason.MISSING))
    if not timedelta(seconds=1) <= lifetime <= MAX_LIFETIME:
        most = int(MAX_LIFETIME.total_seconds())
        given = f"{lifetime.total_seconds():g}s was given"
        described = f"lifetime must be 1s to {most}s; {given}"
        found.append(FieldViolation(field="lifetime", description=described, reason=Reason.OUT_OF_RANGE))
    if found:
        raise InvalidArgument(violations=tuple(found))
    return tuple(granted)
