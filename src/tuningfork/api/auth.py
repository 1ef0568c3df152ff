"""Who is calling: the credentials of a request, and the principal behind them.

An API key comes as `x-goog-api-key`, as `?key=` or as `Authorization: Bearer`. Tokens that are no keys (OAuth) find
their place here too: `_authenticate_token` decides what a token is.
"""

from dataclasses import dataclass
from enum import StrEnum

from starlette.requests import Request

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


def find_credential(request: Request) -> Credential | None:
    """The credential that counts: a key before a token, the header before the query; empty ones are none."""
    query = request.query_params
    if key := request.headers.get("x-goog-api-key") or query.get("key") or query.get("$key"):
        return Credential(CredentialKind.KEY, key.strip())
    if token := query.get("access_token") or query.get("oauth_token"):
        return Credential(CredentialKind.TOKEN, token.strip())
    scheme, _, token = request.headers.get("authorization", "").strip().partition(" ")
    if not scheme:
        return None
    # Any other scheme (Basic) is a token that is not valid.
    return Credential(CredentialKind.TOKEN, token.strip() if scheme.lower() == "bearer" else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Decides who comes in. Reads the database, so it belongs into a thread."""

    access: Access
    require_key: bool

    def admit(self, request: Request, method: Method) -> Principal:  # noqa: ARG002
        """The principal behind a request for this method.

        Raises:
            CallerUnknown: nothing was sent, and a key is required.
            ApiKeyNotValid: the key is unknown or revoked.
            Unauthenticated: the token is.

        """
        credential = find_credential(request)
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
