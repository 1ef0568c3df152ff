"""Access tokens: made for the holder of an API key, signed, and recognised until they expire.

A token is a JSON Web Token (RFC 7519) in the profile of RFC 9068, signed with HMAC-SHA256 by a secret in the
database. Nothing is kept of a token, so checking one costs no look-up beyond that of the key that it was made for.
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
from tuningfork.domain.authorization import Scope
from tuningfork.domain.errors import SERVICE, FieldViolation, InvalidArgument, TokenNotValid
from tuningfork.domain.permission import Principal
from tuningfork.store import signing_keys
from tuningfork.store.database import Database, hold_word
from tuningfork.store.signing_keys import SigningKey

ISSUER = "tuningfork"
DEFAULT_LIFETIME = timedelta(hours=1)
MAX_LIFETIME = timedelta(hours=12)
LEEWAY_SECONDS = 30
"""How far the clocks of servers on one database may be apart."""

_ALGORITHM = "HS256"
_SECRET_BYTES = 32
_REQUEST = "CreateAccessTokenRequest"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A token at the only moment when it is known."""

    value: str = field(repr=False)
    scopes: tuple[str, ...]
    expire_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenClaims:
    """What a genuine token says: for which key it was made, and what it is good for.

    `key_id` is "" in tokens of a server that asked for no keys.
    """

    key_id: ApiKeyId
    scopes: frozenset[str]


class AccessTokens:
    """Makes and recognises the tokens of this database."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._keys: Mapping[str, SigningKey] = {}
        self._making_key = threading.Lock()

    def create(self, principal: Principal, scopes: tuple[str, ...], lifetime: timedelta | None = None) -> AccessToken:
        """Make a token for whoever shows an API key.

        Args:
            principal: the key's holder; `credential` is the key's id.
            scopes: at least one, in full or without `https://www.googleapis.com/auth/`.
            lifetime: None for an hour.

        Raises:
            InvalidArgument: a scope that is none, no scope at all, or a lifetime outside a second to twelve hours.

        """
        lifetime = DEFAULT_LIFETIME if lifetime is None else lifetime
        granted = _checked(scopes, lifetime)
        now = self._clock()
        # Expiry is counted in whole seconds, as the claim is.
        expire_time = (now + lifetime).replace(microsecond=0)
        claims = {
            "iss": ISSUER,
            "aud": SERVICE,
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
        return AccessToken(value=value, scopes=granted, expire_time=expire_time)

    def read(self, token: str) -> TokenClaims:
        """What the token says, if it was made here and has not expired.

        Raises:
            TokenNotValid: it was not, or it has.

        """
        try:
            key = self._key_of(unverified_header(token).get("kid"))
            claims = jwt.decode(
                token,
                key.secret,
                algorithms=[_ALGORITHM],
                issuer=ISSUER,
                audience=SERVICE,
                # Times are checked below, against the clock of the service.
                options={"require": ["exp", "iat"], "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            check_times(claims, self._clock())
            return TokenClaims(key_id=ApiKeyId(_text(claims, "key")), scopes=frozenset(_text(claims, "scope").split()))
        except (jwt.PyJWTError, KeyError, RecursionError) as error:
            raise TokenNotValid from error

    def _key_of(self, key_id: object) -> SigningKey:
        """The key that a token names; one that another server has made meanwhile is found too.

        Raises:
            KeyError: there is none.

        """
        if not isinstance(key_id, str):
            raise KeyError(key_id)
        if key_id not in self._keys:
            self._reread()
        return self._keys[key_id]

    def _signing_key(self) -> SigningKey:
        """The newest key. The first is made on first use, by one of all threads and servers."""
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
            hold_word(connection, "the first signing key")
            if not signing_keys.all_of_them(connection):
                signing_keys.insert(connection, key)

    def _reread(self) -> None:
        with self._database.read() as connection:
            self._keys = {key.id: key for key in signing_keys.all_of_them(connection)}


def unverified_header(token: str) -> Mapping[str, Any]:
    """What a token says of itself, to find the key that proves it. Believe none of it.

    Raises:
        jwt.InvalidTokenError: it is no token at all.

    """
    if not token.isascii():
        raise jwt.InvalidTokenError("tokens are ASCII")
    return jwt.get_unverified_header(token)


def unverified_issuer(token: str) -> object:
    """Who a token says has made it, to find out who could prove that. Believe none of it.

    Raises:
        TokenNotValid: it is no token at all.

    """
    try:
        unverified_header(token)
        return jwt.decode(token, options={"verify_signature": False}).get("iss")
    # Brackets in brackets, thousands deep, are how strangers greet JSON parsers.
    except (jwt.PyJWTError, RecursionError) as error:
        raise TokenNotValid from error


def check_times(claims: Mapping[str, Any], now: datetime) -> None:
    """Hold a token's claims `exp`, `nbf` and `iat` to a clock, with `LEEWAY_SECONDS` either way.

    Raises:
        jwt.InvalidTokenError: it has expired, is not valid yet, was made in the future, or names no time.

    """
    moment = now.astimezone(UTC).timestamp()
    for name in ("exp", "nbf", "iat"):
        given = claims.get(name, 0)
        # Written so that NaN is none either, and no integer too large for a float is made one.
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


def _checked(scopes: tuple[str, ...], lifetime: timedelta) -> tuple[str, ...]:
    """The scopes by their full names, each once."""
    found: list[FieldViolation] = []
    granted: dict[str, None] = {}
    for index, text in enumerate(scopes):
        try:
            granted[Scope.named(text).value] = None
        except ValueError as error:
            found.append(FieldViolation(field=f"scopes[{index}]", description=str(error)))
    if not scopes:
        known = ", ".join(Scope)
        found.append(FieldViolation(field="scopes", description=f"name at least one scope of {known}"))
    if not timedelta(seconds=1) <= lifetime <= MAX_LIFETIME:
        most = int(MAX_LIFETIME.total_seconds())
        given = f"{lifetime.total_seconds():g}s was given"
        found.append(FieldViolation(field="lifetime", description=f"lifetime must be 1s to {most}s; {given}"))
    if found:
        raise InvalidArgument.of(_REQUEST, tuple(found))
    return tuple(granted)
