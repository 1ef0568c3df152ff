"""Who stands behind what a caller shows: an API key, an access token of this server, or one of an issuer outside."""

from dataclasses import dataclass

from tuningfork.domain.authorization import Credential, CredentialKind
from tuningfork.domain.errors import ApiKeyNotValid, TokenNotValid
from tuningfork.domain.method import Method
from tuningfork.domain.permission import LOCAL_PRINCIPAL, Principal
from tuningfork.service.access import Access
from tuningfork.service.openid import OpenIdTokens
from tuningfork.service.tokens import ISSUER, AccessTokens, unverified_issuer


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """A person, and the genuine credential that they showed."""

    principal: Principal
    credential: Credential


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Recognises callers. Reads the database, and may ask the issuer for its keys, so it belongs into a thread."""

    access: Access
    tokens: AccessTokens
    outside: OpenIdTokens | None = None

    def of_key(self, key: str) -> Recognised:
        """Whoever holds this API key.

        Raises:
            ApiKeyNotValid: it is unknown or revoked.

        """
        return Recognised(principal=self.access.authenticate(key), credential=Credential(kind=CredentialKind.API_KEY))

    def of_key_at_once(self, key: str) -> Recognised | None:
        """As `of_key`, without waiting for anything; None where only that can tell."""
        return _recognised(self.access.authenticate_at_once(key), CredentialKind.API_KEY)

    def of_machine_at_once(self) -> Recognised | None:
        """As `of_machine`, without waiting for anything; None where only that can tell."""
        return _recognised(self.access.principal_at_once(LOCAL_PRINCIPAL), CredentialKind.LOCAL)

    def of_token(self, token: str, method: Method) -> Recognised:
        """Whoever this token speaks for; an API key is taken for one too, since some clients send it as such.

        Args:
            token: what followed `Bearer`.
            method: what is called, which the refusal of a foreign token names.

        Raises:
            TokenNotValid: it is unknown, has expired, or was made for a key that is revoked.
            Unavailable: its issuer cannot be asked just now.

        """
        try:
            if "." not in token:
                return self.of_key(token)
            issuer = unverified_issuer(token)
            if issuer == ISSUER:
                return self._of_own(token)
            if self.outside is not None and issuer == self.outside.trusted.url:
                return self._of_outside(token, self.outside)
        except ApiKeyNotValid as error:
            raise TokenNotValid from error
        raise TokenNotValid(method)

    def of_machine(self) -> Recognised:
        """Whoever owns the machine, for a server that asks for no credentials."""
        principal = self.access.principal(LOCAL_PRINCIPAL.email, LOCAL_PRINCIPAL.project, LOCAL_PRINCIPAL.credential)
        return Recognised(principal=principal, credential=Credential(kind=CredentialKind.LOCAL))

    def _of_own(self, token: str) -> Recognised:
        claims = self.tokens.read(token)
        # A token lives no longer than the key that it was made for, and speaks for whoever holds that now.
        principal = self.access.holder(claims.key_id)
        credential = Credential(kind=CredentialKind.ACCESS_TOKEN, scopes=claims.scopes)
        return Recognised(principal=principal, credential=credential)

    def _of_outside(self, token: str, outside: OpenIdTokens) -> Recognised:
        claims = outside.read(token)
        principal = self.access.principal(claims.email, "", f"openid:{claims.email}")
        credential = Credential(kind=CredentialKind.ACCESS_TOKEN, scopes=claims.scopes)
        return Recognised(principal=principal, credential=credential)


def _recognised(principal: Principal | None, kind: CredentialKind) -> Recognised | None:
    return None if principal is None else Recognised(principal=principal, credential=Credential(kind=kind))
