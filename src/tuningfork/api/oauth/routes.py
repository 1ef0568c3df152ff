"""The routes by which programs with a file of credentials get access tokens, in OAuth 2.0's own form.

`POST /token` (RFC 6749, section 6, and RFC 7523) and `POST /introspect` (RFC 7662). They need no API key: the body has
the secret, or what a secret signed. No answer and no line of the log repeats either.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tuningfork.api.body import read_body
from tuningfork.api.carrying import Endpoint
from tuningfork.api.request_records import access_of
from tuningfork.dialect.faults import public_error
from tuningfork.domain.errors import (
    AssertionNotValid,
    ClientNotValid,
    Code,
    InvalidArgument,
    QuotaExceeded,
    RefreshTokenNotValid,
    TuningforkError,
)
from tuningfork.domain.permission import Principal
from tuningfork.logs.access import key_of
from tuningfork.service.identity.assertions import Assertions
from tuningfork.service.identity.refresh_tokens import CLIENT_ID, RefreshTokens, SentClient, SentGrant
from tuningfork.service.identity.tokens import AccessToken
from tuningfork.service.quotas import Cost, Quotas
from tuningfork.wire.oauth import answers, forms
from tuningfork.wire.oauth.answers import Json, OAuthError, OAuthFault

logger = logging.getLogger(__name__)

_JSON = "application/json; charset=UTF-8"
_UNSTORED = {"cache-control": "no-store", "pragma": "no-cache"}
"""Caches must not store tokens (RFC 6749, section 5.1)."""
_TOO_MANY_REQUESTS = 429
_NEW_FILE = "`tuningfork auth application-default login --adc FILE` writes new credentials"
_NEW_ACCOUNT = "`tuningfork auth service-account create FILE` writes a new key file"
_ADVISED: Mapping[type[TuningforkError], tuple[OAuthError, str]] = {
    RefreshTokenNotValid: (OAuthError.INVALID_GRANT, _NEW_FILE),
    ClientNotValid: (OAuthError.INVALID_CLIENT, _NEW_FILE),
    AssertionNotValid: (
        OAuthError.INVALID_GRANT,
        "`tuningfork auth service-account create FILE` writes a new key file",
    ),
}
"""Refusals that end with what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthRoutes:
    """The routes. An exchange counts as a request of the API key that the refresh token or the account was made for."""

    refresh_tokens: RefreshTokens
    assertions: Assertions
    quotas: Quotas

    def routes(self) -> tuple[tuple[str, str, Endpoint], ...]:
        """Every verb and path, with its endpoint."""
        return ("POST", "/token", self.token), ("POST", "/introspect", self.introspect)

    async def token(self, request: Request) -> Response:
        """Exchange a refresh token or a service account's assertion for an access token, good for an hour at most."""
        return await _answered(request, lambda *sent: self._exchange(request, *sent))

    async def introspect(self, request: Request) -> Response:
        """Whether a token of the client's own API key is good, and for what."""
        return await _answered(request, self._introspect)

    def _exchange(self, request: Request, content_type: str, authorization: str, body: bytes) -> Json:
        holder, token = self._granted(forms.parse_grant(content_type, authorization, body))
        access_of(request).key = key_of(holder.credential)
        self.quotas.admit(holder, Cost.REQUEST)
        return answers.render_token(token.value, int(token.lifetime.total_seconds()), token.scopes)

    def _granted(self, asked: forms.RefreshRequest | forms.AssertionRequest) -> tuple[Principal, AccessToken]:
        if isinstance(asked, forms.AssertionRequest):
            return self.assertions.exchange(asked.assertion)
        sent = SentGrant(client=_client(asked.client), refresh_token=asked.refresh_token)
        return self.refresh_tokens.exchange(sent, asked.scopes)

    def _introspect(self, content_type: str, authorization: str, body: bytes) -> Json:
        asked = forms.parse_introspection(content_type, authorization, body)
        known = self.refresh_tokens.introspect(_client(asked.client), asked.token)
        if known is None:
            return answers.INACTIVE
        return answers.render_active(
            client_id=CLIENT_ID, username=known.holder.email, scopes=known.scopes, expire_time=known.expire_time
        )


def _client(sent: forms.SentClient) -> SentClient:
    return SentClient(id=sent.id, secret=sent.secret)


async def _answered(request: Request, work: Callable[[str, str, bytes], Json]) -> Response:
    """The answer of `work`, which runs in a thread and gets content type, authorization and body; or its refusal."""
    try:
        body = await read_body(request, forms.MOST_BODY_BYTES)
    except InvalidArgument as error:
        return _refusal(request, _fault(error))
    headers = request.headers
    sent = headers.get("content-type", ""), headers.get("authorization", ""), body
    try:
        return _response(await run_in_threadpool(work, *sent), 200, {})
    except OAuthFault as fault:
        return _refusal(request, fault)
    except Exception as error:  # noqa: BLE001 - logged by `public_error`, and answered in OAuth's form
        return _refusal(request, _fault(public_error(error)), retry_seconds=_retry_seconds(error))


def _refusal(request: Request, fault: OAuthFault, *, retry_seconds: int | None = None) -> Response:
    access = access_of(request)
    logger.warning(
        "refused a request for %s from %s: %s: %s",
        *(request.url.path, access.remote, fault.error.value, fault.description),
        extra={"action": "key_refused", "remote": access.remote},
    )
    headers = dict[str, str]()
    if fault.error is OAuthError.INVALID_CLIENT:
        headers["www-authenticate"] = 'Basic realm="tuningfork"'
    if retry_seconds is not None:
        headers["retry-after"] = str(retry_seconds)
    return _response(
        answers.render_error(fault), fault.status if retry_seconds is None else _TOO_MANY_REQUESTS, headers
    )


def _retry_seconds(error: Exception) -> int | None:
    return error.retry_seconds if isinstance(error, QuotaExceeded) else None


def _fault(told: TuningforkError) -> OAuthFault:
    """The error of OAuth that means the same."""
    for kind, (error, advice) in _ADVISED.items():
        if isinstance(told, kind):
            return OAuthFault(error, f"{told.message}; {advice}")
    match told:
        case InvalidArgument(violations=(first, *_)) if first.field.startswith("scopes"):
            return OAuthFault(OAuthError.INVALID_SCOPE, first.description)
        case InvalidArgument():
            return OAuthFault(OAuthError.INVALID_REQUEST, told.message)
    if told.code in (Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE):
        return OAuthFault(OAuthError.TEMPORARILY_UNAVAILABLE, told.message)
    return OAuthFault(OAuthError.SERVER_ERROR, told.message)


def _response(body: Json, status: int, headers: Mapping[str, str] = {}) -> Response:
    return Response(json.dumps(body) + "\n", status, {**_UNSTORED, **headers}, _JSON)
