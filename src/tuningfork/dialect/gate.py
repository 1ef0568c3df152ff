"""Who comes in, whatever carried the call: a credential in, the principal behind it out."""

from dataclasses import dataclass
from enum import StrEnum

from tuningfork.domain.authorization import SCOPES, Verdict, decide_caller
from tuningfork.domain.errors import ApiKeyRequired, CallerUnknown, ScopeInsufficient
from tuningfork.domain.method import Method
from tuningfork.domain.permission import Principal
from tuningfork.service.identity import Identity, Recognised
from tuningfork.service.quotas import Quotas


class ShownAs(StrEnum):
    """How a credential was sent; bad ones of each kind have an answer of their own."""

    KEY = "key"
    TOKEN = "token"  # noqa: S105 - a name, no secret


@dataclass(frozen=True, slots=True)
class Shown:
    """What a caller shows."""

    kind: ShownAs
    value: str

    @classmethod
    def among(cls, *, key: str | None, token: str | None = None, authorization: str | None) -> "Shown | None":
        """The credential that counts: a key before a token; empty ones are none.

        Args:
            key: an API key.
            token: an access token that came without a scheme.
            authorization: the value of an `Authorization` header.

        """
        if key:
            return cls(ShownAs.KEY, key.strip())
        if token:
            return cls(ShownAs.TOKEN, token.strip())
        scheme, _, token = (authorization or "").strip().partition(" ")
        if not scheme:
            return None
        # Any other scheme (Basic) is a token that is not valid.
        return cls(ShownAs.TOKEN, token.strip() if scheme.lower() == "bearer" else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Decides who comes in. Reads the database, so it belongs into a thread.

    Without `require_credential` everybody is whoever owns the machine, whatever they show: SDKs cannot go without a
    key, so any will do.
    """

    identity: Identity
    quotas: Quotas
    require_credential: bool = True

    def admit(self, credential: Shown | None, method: Method) -> Principal:
        """The principal behind a call of this method that shows this credential, or none.

        Raises:
            CallerUnknown: nothing was sent.
            ApiKeyNotValid: the key is unknown or revoked.
            TokenNotValid: the token is unknown, expired or revoked.
            ScopeInsufficient: the token is not for this method.
            ApiKeyRequired: no token is.
            QuotaExceeded: the caller has used up a budget.
            Unavailable: the issuer of the token cannot be asked just now.

        """
        recognised = self._recognise(credential, method) if self.require_credential else self.identity.of_machine()
        return self._let_in(recognised, method)

    def admit_at_once(self, credential: Shown | None, method: Method) -> Principal | None:
        """As `admit`, without waiting for anything; None, and nothing is counted, where only that can tell."""
        recognised = None
        if not self.require_credential:
            recognised = self.identity.of_machine_at_once()
        elif credential is not None and credential.kind is ShownAs.KEY:
            recognised = self.identity.of_key_at_once(credential.value)
        return None if recognised is None else self._let_in(recognised, method)

    def _let_in(self, recognised: Recognised, method: Method) -> Principal:
        match decide_caller(method, recognised.credential):
            case Verdict.SCOPE_INSUFFICIENT:
                raise ScopeInsufficient(method.value, SCOPES[method])
            case Verdict.API_KEY_REQUIRED:
                raise ApiKeyRequired
        self.quotas.admit(recognised.principal, method)
        return recognised.principal

    def _recognise(self, shown: Shown | None, method: Method) -> Recognised:
        if shown is None:
            raise CallerUnknown
        if shown.kind is ShownAs.KEY:
            return self.identity.of_key(shown.value)
        return self.identity.of_token(shown.value, method)
