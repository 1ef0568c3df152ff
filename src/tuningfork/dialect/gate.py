"""Authenticates a call, over HTTP or gRPC: from the credential that was sent to the principal who calls."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum

from tuningfork.dialect.method import Method
from tuningfork.domain.authorization import CallDecision, decide_caller
from tuningfork.domain.errors import (
    ApiKeyNotValid,
    ApiKeyRequired,
    CallerUnknown,
    ScopeInsufficient,
    TokenNotValid,
)
from tuningfork.domain.permission import Principal
from tuningfork.service.identity.identity import Identity
from tuningfork.service.identity.issuer_keys import FETCH_SECONDS, KeysAwaited
from tuningfork.service.identity.recognised import Recognised
from tuningfork.service.identity.wrong_tries import WrongTries
from tuningfork.service.quotas import Quotas

logger = logging.getLogger(__name__)


class SentCredentialKind(StrEnum):
    """The kind of a credential as it was sent. An invalid key is refused with another error than an invalid token."""

    KEY = "key"
    TOKEN = "token"  # noqa: S105 - a name, no secret


@dataclass(frozen=True, slots=True)
class SentCredential:
    """A credential as it was sent, not yet checked."""

    kind: SentCredentialKind
    value: str

    @property
    def is_key(self) -> bool:
        """Whether it can only be a key or a session's credential, which a bearer token may be too."""
        return self.kind is SentCredentialKind.KEY or "." not in self.value

    @classmethod
    def among(cls, *, key: str | None, token: str | None = None, authorization: str | None) -> "SentCredential | None":
        """The credential to use among those that were sent: the key if there is one, else a token. None: there is none.

        An empty credential counts as not sent.

        Args:
            key: an API key.
            token: an access token that was sent without a scheme.
            authorization: the value of an `Authorization` header.

        """
        if key:
            return cls(SentCredentialKind.KEY, key.strip())
        if token:
            return cls(SentCredentialKind.TOKEN, token.strip())
        scheme, _, token = (authorization or "").strip().partition(" ")
        if not scheme:
            return None
        # Any other scheme (Basic) is a token that is not valid.
        return cls(SentCredentialKind.TOKEN, token.strip() if scheme.lower() == "bearer" else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Decides whether a call is let in: credential, scope and budget. Reads the database, so call it in a thread.

    Without `require_credential` every caller is the local principal, whatever credential is sent: SDKs refuse to work
    without a key, so any key is accepted. Callers of the `open_methods` who send no credential are the local principal
    too; whoever carries the call sees to it that they are programs of this machine.
    """

    identity: Identity
    quotas: Quotas
    require_credential: bool = True
    open_methods: frozenset[Method] = frozenset()
    wrong_tries: WrongTries = field(default_factory=WrongTries)

    def admit(self, credential: SentCredential | None, method: Method) -> Principal:
        """The principal who calls this method with this credential (None: without one).

        Raises:
            CallerUnknown: no credential was sent.
            ApiKeyNotValid: the key is unknown or revoked.
            TokenNotValid: the token is unknown, expired or revoked.
            ScopeInsufficient: the token has no scope that this method accepts.
            ApiKeyRequired: this method accepts API keys only.
            QuotaExceeded: the caller has used up a budget.
            Unavailable: the keys of the token's issuer cannot be fetched at the moment.

        """
        recognised = self._recognise(credential, method) if self.require_credential else self.identity.of_machine()
        return self._let_in(recognised, method)

    async def admit_without_waiting(
        self,
        credential: SentCredential | None,
        method: Method,
        in_thread: Callable[[Callable[[], Principal]], Awaitable[Principal]],
        remote: str = "unknown",
    ) -> Principal:
        """Like `admit`, for an event loop. `in_thread` runs a function in a thread, where the database is read.

        If an issuer's keys have to be fetched first, no thread waits for them. A credential that is refused is logged
        with the caller's address, `remote`, and without the credential. Methods by which people sign in look at no
        credential from an address that has sent too many wrong ones.

        Raises:
            TooManyTries: the method is one of these, and this is such an address.
            TuningforkError: as `admit`.

        """
        if method.is_sign_in:
            self.wrong_tries.check(remote)
        try:
            principal = await self._admit_without_waiting(credential, method, in_thread)
        except (ApiKeyNotValid, TokenNotValid) as error:
            if method.is_sign_in:
                self.wrong_tries.count(remote)
            sent = "an API key" if isinstance(error, ApiKeyNotValid) else "an access token"
            said = "refused %s from %s for %s: it is unknown, expired or revoked"
            logger.warning(said, sent, remote, method.full_name, extra={"action": "key_refused", "remote": remote})
            raise
        if method.is_sign_in:
            self.wrong_tries.forget(remote)
        return principal

    async def _admit_without_waiting(
        self,
        credential: SentCredential | None,
        method: Method,
        in_thread: Callable[[Callable[[], Principal]], Awaitable[Principal]],
    ) -> Principal:
        principal = self.admit_at_once(credential, method)
        if principal is not None:
            return principal
        try:
            return await in_thread(lambda: self.admit(credential, method))
        except KeysAwaited as awaited:
            # A call that waits for the issuer's server must not occupy a thread that other calls need.
            await asyncio.wait({asyncio.wrap_future(awaited.ready)}, timeout=FETCH_SECONDS + 1)
        return await in_thread(lambda: self.admit(credential, method))

    def admit_at_once(self, credential: SentCredential | None, method: Method) -> Principal | None:
        """Like `admit`, but never blocks: returns None, and uses no budget, if the database has to be read."""
        recognised = None
        if not self.require_credential:
            recognised = self.identity.of_machine_at_once()
        elif credential is not None and credential.is_key:
            recognised = self.identity.of_key_at_once(credential.value)
        return None if recognised is None else self._let_in(recognised, method)

    def _let_in(self, recognised: Recognised, method: Method) -> Principal:
        match decide_caller(method.requirement, recognised.credential):
            case CallDecision.SCOPE_INSUFFICIENT:
                raise ScopeInsufficient(method.full_name, method.requirement.scopes)
            case CallDecision.API_KEY_REQUIRED:
                raise ApiKeyRequired
        self.quotas.admit(recognised.principal, method.cost)
        return recognised.principal

    def _recognise(self, sent: SentCredential | None, method: Method) -> Recognised:
        if sent is None:
            if method in self.open_methods:
                return self.identity.of_machine()
            raise CallerUnknown
        if sent.kind is SentCredentialKind.KEY:
            return self.identity.of_key(sent.value)
        return self.identity.of_token(sent.value, method.full_name)
