"""Tokens of an OpenID Connect issuer outside: whom they speak for, and what they are good for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jwt

from tuningfork.domain.authorization import Scope
from tuningfork.domain.errors import TokenNotValid
from tuningfork.domain.permission import Email, parse_email
from tuningfork.service.issuer_keys import IssuerKeys
from tuningfork.service.tokens import check_times, unverified_header

ALGORITHMS = ("RS256", "ES256")
"""Two that everybody has. None is symmetric: a public key must never be taken for a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuer:
    """Whose tokens are taken, and how they are read.

    `audience` must be among those that a token is for. `default_scopes` are given to a token that names no scope of
    this service, for issuers that know none.
    """

    url: str
    audience: str
    email_claim: str = "email"
    scope_claim: str = "scope"
    default_scopes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideClaims:
    """What a genuine token says."""

    email: Email
    scopes: frozenset[str]


class OpenIdTokens:
    """Recognises the tokens of one issuer."""

    def __init__(self, trusted: TrustedIssuer, keys: IssuerKeys, clock: Callable[[], datetime]) -> None:
        self.trusted = trusted
        self._keys = keys
        self._clock = clock

    def read(self, token: str) -> OutsideClaims:
        """What the token says, if the issuer made it for this service, it names a person, and it has not expired.

        Raises:
            TokenNotValid: one of these does not hold.
            Unavailable: the issuer's keys cannot be had just now.

        """
        try:
            header = unverified_header(token)
            if header.get("alg") not in ALGORITHMS:
                raise jwt.InvalidAlgorithmError
            key = self._keys.find(header.get("kid"))
            if key.algorithm_name != header["alg"]:
                raise jwt.InvalidAlgorithmError
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[header["alg"]],
                issuer=self.trusted.url,
                audience=self.trusted.audience,
                # Times are checked below, against the clock of the service.
                options={"require": ["exp"], "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            check_times(claims, self._clock())
            return OutsideClaims(email=self._email(claims), scopes=self._scopes(claims))
        except (jwt.PyJWTError, KeyError, ValueError, TypeError, RecursionError) as error:
            raise TokenNotValid from error

    def _email(self, claims: Mapping[str, Any]) -> Email:
        # Whoever may type any address into their profile must not become its owner. Some issuers send text.
        if claims.get("email_verified", True) not in (True, "true"):
            raise ValueError("the address is not verified")
        email = claims[self.trusted.email_claim]
        if not isinstance(email, str):
            raise TypeError(f"the claim {self.trusted.email_claim} is no text")
        return parse_email(email)

    def _scopes(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """The scopes in the claim, which is text with blanks between them or a list."""
        given = claims.get(self.trusted.scope_claim, ())
        names = given.split() if isinstance(given, str) else list(given)
        return frozenset(names).intersection(Scope) or self.trusted.default_scopes
