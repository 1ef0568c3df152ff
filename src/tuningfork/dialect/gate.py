"""Who comes in, whatever carried the call: a credential in, the principal behind it out.

Tokens that are no keys (OAuth) find their place here: `_authenticate_token` decides what a token is.
"""

from dataclasses import dataclass
from enum import StrEnum

from tuningfork.domain.errors import ApiKeyNotValid, CallerUnknown, Unauthenticated
from tuningfork.domain.method import Method
from tuningfork.domain.permission import LOCAL_PRINCIPAL, Principal
from tuningfork.service.access import Access


class CredentialKind(StrEnum):
    """How a credential was sent; bad ones of each kind have an answer of their own."""

    KEY = "key"
    TOKEN = "token"  # noqa: S105 - a name, no secret


@dataclass(frozen=True, slots=True)
class Credential:
    """What a caller shows."""

    kind: CredentialKind
    value: str

    @classmethod
    def among(cls, *, key: str | None, token: str | None = None, authorization: str | None) -> "Credential | None":
        """The credential that counts: a key before a token; empty ones are none.

        Args:
            key: an API key.
            token: an access token that came without a scheme.
            authorization: the value of an `Authorization` header.

        """
        if key:
            return cls(CredentialKind.KEY, key.strip())
        if token:
            return cls(CredentialKind.TOKEN, token.strip())
        scheme, _, token = (authorization or "").strip().partition(" ")
        if not scheme:
            return None
        # Any other scheme (Basic) is a token that is not valid.
        return cls(CredentialKind.TOKEN, token.strip() if scheme.lower() == "bearer" else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Decides who comes in. Reads the database, so it belongs into a thread."""

    access: Access
    require_key: bool

    def admit(self, credential: Credential | None, method: Method) -> Principal:  # noqa: ARG002
        """The principal behind a call of this method that shows this credential, or none.

        Raises:
            CallerUnknown: nothing was sent, and a key is required.
            ApiKeyNotValid: the key is unknown or revoked.
            Unauthenticated: the token is.

        """
        if credential is None:
            if self.require_key:
                raise CallerUnknown
            return LOCAL_PRINCIPAL
        try:
            if credential.kind is CredentialKind.KEY:
                return self.access.authenticate(credential.value)
            return _authenticate_token(self.access, credential.value)
        except (ApiKeyNotValid, Unauthenticated):
            # SDKs cannot go without a key; on a server that asks for none, any will do.
            if self.require_key:
                raise
            return LOCAL_PRINCIPAL


def _authenticate_token(access: Access, token: str) -> Principal:
    try:
        return access.authenticate(token)
    except ApiKeyNotValid as error:
        raise Unauthenticated(
            "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other "
            "valid authentication credential. See "
            "https://developers.google.com/identity/sign-in/web/devconsole-project."
        ) from error
