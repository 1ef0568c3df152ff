"""Finds the person to whom a credential belongs: an API key, or a token of this server or of an external issuer."""

import logging
from dataclasses import dataclass, replace

from tuningfork.domain.authorization import Credential, CredentialKind
from tuningfork.domain.errors import ApiKeyNotValid, AssertionNotValid, TokenNotValid
from tuningfork.domain.permission import LOCAL_PRINCIPAL, Grant, Principal
from tuningfork.domain.service_account import named_by
from tuningfork.service.identity.assertions import Assertions
from tuningfork.service.identity.keys import Access
from tuningfork.service.identity.openid import OpenIdTokens
from tuningfork.service.identity.recognised import Recognised
from tuningfork.service.identity.sessions import SESSION_PREFIX, Sessions, person_of_issuer
from tuningfork.service.identity.tokens import ISSUER, AccessTokens, unverified_issuer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Authenticates callers.

    Its methods may block while they read the database or fetch an external issuer's keys, so an event loop calls them
    in a thread. Those named `_at_once` never block.
    """

    access: Access
    tokens: AccessTokens
    sessions: Sessions
    assertions: Assertions
    outside: OpenIdTokens | None = None

    def of_key(self, key: str) -> Recognised:
        """The holder of this API key, or of this session's credential, which is accepted wherever a key is.

        Raises:
            ApiKeyNotValid: the key is unknown or revoked, or the session has ended.

        """
        if key.startswith(SESSION_PREFIX):
            return self.sessions.authenticate(key)
        return Recognised(principal=self.access.authenticate(key), credential=Credential(kind=CredentialKind.API_KEY))

    def of_key_at_once(self, key: str) -> Recognised | None:
        """As `of_key`, from memory alone; None if the database has to be read."""
        if key.startswith(SESSION_PREFIX):
            return self.sessions.authenticate_at_once(key)
        return _recognised(self.access.authenticate_at_once(key), CredentialKind.API_KEY)

    def of_machine_at_once(self) -> Recognised | None:
        """As `of_machine`, from memory alone; None if the database has to be read."""
        return _recognised(self.access.principal_at_once(LOCAL_PRINCIPAL), CredentialKind.LOCAL)

    def of_token(self, token: str, method: str) -> Recognised:
        """The person to whom this token belongs.

        API keys and credentials of sessions are accepted too, since some clients send them as tokens.

        Args:
            token: the text after `Bearer`.
            method: the full name of the called method, for the error about a token of an unknown issuer.

        Raises:
            TokenNotValid: the token is unknown, has expired, or was made for a key that is revoked.
            Unavailable: the keys of the token's issuer cannot be fetched at the moment.

        """
        try:
            if "." not in token:
                return self.of_key(token)
            issuer = unverified_issuer(token)
            if issuer == ISSUER:
                return self._of_own(token)
            if named_by(issuer) is not None:
                return self._of_service_account(token)
            if self.outside is not None and issuer == self.outside.trusted.url:
                return self._of_outside(token, self.outside)
        except ApiKeyNotValid as error:
            raise TokenNotValid from error
        raise TokenNotValid(method)

    def of_machine(self) -> Recognised:
        """The local principal, for a server that asks for no credentials."""
        principal = self.access.principal(LOCAL_PRINCIPAL.email, LOCAL_PRINCIPAL.project, LOCAL_PRINCIPAL.credential)
        return Recognised(principal=principal, credential=Credential(kind=CredentialKind.LOCAL))

    def _of_own(self, token: str) -> Recognised:
        claims = self.tokens.read(token)
        # The token is invalid once its key is revoked, and authenticates the person who holds that key now.
        principal = self.access.holder(claims.key_id)
        grant = Grant(scopes=claims.scopes, expire_time=claims.expire_time)
        return _within(principal, grant)

    def _of_service_account(self, token: str) -> Recognised:
        try:
            principal, grant = self.assertions.read_as_token(token)
        except AssertionNotValid as error:
            # The caller learns only that the token is not valid, as of every token.
            logger.warning("refused a token that a service account signed: %s", error.message)
            raise TokenNotValid from error
        return _within(principal, grant)

    def _of_outside(self, token: str, outside: OpenIdTokens) -> Recognised:
        claims = outside.read(token)
        return _within(person_of_issuer(self.access, claims.email), Grant(scopes=claims.scopes, by_issuer=True))


def _within(principal: Principal, grant: Grant) -> Recognised:
    credential = Credential(kind=CredentialKind.ACCESS_TOKEN, scopes=grant.scopes or frozenset())
    return Recognised(principal=replace(principal, grant=grant), credential=credential)


def _recognised(principal: Principal | None, kind: CredentialKind) -> Recognised | None:
    return None if principal is None else Recognised(principal=principal, credential=Credential(kind=kind))
