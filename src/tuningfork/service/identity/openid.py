"""Tokens of an external OpenID Connect issuer: verifies them, and reads their e-mail address and scopes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jwt

from tuningfork.domain.errors import TokenNotValid
from tuningfork.domain.permission import Email, parse_email
from tuningfork.domain.scripts import mixes_scripts
from tuningfork.service.identity.issuer_keys import IssuerKeys
from tuningfork.service.identity.tokens import check_times, unverified_header

ALGORITHMS = ("RS256", "ES256")
"""The accepted signature algorithms, which all issuers offer. Symmetric ones are excluded: with them, the issuer's
public key could serve an attacker as the signing secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuer:
    """The external issuer whose tokens are accepted, and how to read them.

    A token must be for `audience`, or for `client_id`, which is what the Studio is called there: ID tokens are for it.
    `scopes` are the scopes of this service; other scopes in a token are ignored. `default_scopes` apply to a token with
    no scope of this service, for issuers that cannot grant these.
    """

    url: str
    audience: str
    scopes: frozenset[str]
    email_claim: str = "email"
    scope_claim: str = "scope"
    default_scopes: frozenset[str] = frozenset()
    client_id: str | None = None

    @property
    def audiences(self) -> tuple[str, ...]:
        """Whom a token may be for."""
        return (self.audience,) if self.client_id is None else (self.audience, self.client_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideClaims:
    """The verified content of an external issuer's token."""

    email: Email
    scopes: frozenset[str]


class OpenIdTokens:
    """Verifies the tokens of one issuer."""

    def __init__(self, trusted: TrustedIssuer, keys: IssuerKeys, clock: Callable[[], datetime]) -> None:
        self.trusted = trusted
        self._keys = keys
        self._clock = clock

    def read(self, token: str) -> OutsideClaims:
        """Verify a token and return its content.

        The issuer must have made it for this service, and it must name a person and be valid now.

        Raises:
            TokenNotValid: one of these conditions does not hold.
            Unavailable: the issuer's keys cannot be fetched at the moment.

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
                audience=self.trusted.audiences,
                # Times are checked below, against the clock of the service.
                options={"require": ["exp"], "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            check_times(claims, self._clock())
            return OutsideClaims(email=self._email(claims), scopes=self._scopes(claims))
        except (jwt.PyJWTError, KeyError, ValueError, TypeError, RecursionError) as error:
            raise TokenNotValid from error

    def _email(self, claims: Mapping[str, Any]) -> Email:
        # An address that the issuer has not verified may be somebody else's. Some issuers send "true" as text.
        if claims.get("email_verified", True) not in (True, "true"):
            raise ValueError("the address is not verified")
        email = claims[self.trusted.email_claim]
        if not isinstance(email, str):
            raise TypeError(f"the claim {self.trusted.email_claim} is no text")
        return _exact(email)

    def _scopes(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """This service's scopes in the claim, which is a list or a text with blanks between the scopes."""
        given = claims.get(self.trusted.scope_claim, ())
        names = given.split() if isinstance(given, str) else list(given)
        return frozenset(names).intersection(self.trusted.scopes) or self.trusted.default_scopes


def _exact(claim: str) -> Email:
    """The e-mail address in a claim, in lower case. Nothing else is corrected, as that could give another's address.

    Raises:
        ValueError: it has blanks around it or another spelling, is none that an issuer can know, or mixes scripts.

    """
    email = parse_email(claim)
    if email != claim.lower():
        raise ValueError("the address has blanks around it")
    local, _, domain = email.partition("@")
    if domain == "localhost" or domain.endswith(".localhost"):
        raise ValueError("addresses of this machine belong to whoever runs the server")
    if any(mixes_scripts(part) for part in (local, *domain.split("."))):
        raise ValueError("the address mixes letters of several scripts")
    return email
