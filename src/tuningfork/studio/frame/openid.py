"""Signing in at an OpenID Connect issuer: the way there and back, and the ID token that comes of it.

Source: OpenID Connect Core 1.0 section 3.1, RFC 6749 section 4.1, RFC 7636 (PKCE), OpenID Connect Discovery 1.0.
"""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx

Json = Mapping[str, Any]

HOP_SECONDS = 600
"""How long somebody may take at the issuer."""

_CONFIGURATION = "/.well-known/openid-configuration"
_CONFIGURATION_SECONDS = 3_600.0
_FETCH_SECONDS = 10.0
_MOST_BYTES = 256 * 1024
_SCOPES = "openid email"
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class IssuerFailed(Exception):
    """The issuer does not answer, or not with what it should. The message says what was wrong, and has no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerClient:
    """What the Studio is called at its issuer. `secret` "": it is a public client, which PKCE alone protects."""

    issuer: str
    client_id: str
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """What a browser keeps while somebody is at the issuer, so that only this browser can come back from there."""

    state: str
    nonce: str
    verifier: str = field(repr=False)
    next_path: str

    @classmethod
    def begin(cls, next_path: str) -> "Hop":
        """A new one; `next_path` is where to go once signed in."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        return cls(state=state, nonce=nonce, verifier=verifier, next_path=next_path)

    @classmethod
    def read(cls, written: str) -> "Hop | None":
        """The one that was written into a cookie; None: that is none."""
        try:
            found = json.loads(bytes.fromhex(written))
            hop = cls(**found)
        except (ValueError, TypeError, RecursionError):
            return None
        return hop if all(isinstance(each, str) and each for each in found.values()) else None

    def write(self) -> str:
        """The text for a cookie."""
        return json.dumps(asdict(self)).encode().hex()

    def came_back(self, state: str) -> bool:
        """Whether this is the answer to the question of this browser."""
        return secrets.compare_digest(self.state.encode(), state.encode("utf-8", "surrogatepass"))


class OpenIdSignIn:
    """The way to an issuer and back.

    Args:
        client: what the Studio is called there.
        transport: replaces the network, for tests.
        monotonic: a monotonic clock, in seconds.

    """

    def __init__(
        self,
        client: IssuerClient,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client = client
        self._transport = transport
        self._monotonic = monotonic
        self._known: tuple[float, Json] | None = None

    @property
    def host(self) -> str:
        """The issuer's host, which people know it by."""
        return urlsplit(self.client.issuer).hostname or self.client.issuer

    async def address(self, hop: Hop, redirect_uri: str) -> str:
        """Where to send the browser.

        Raises:
            IssuerFailed: the issuer does not say where.

        """
        endpoint = _endpoint(await self._configuration(), "authorization_endpoint")
        digest = hashlib.sha256(hop.verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": redirect_uri,
            "scope": _SCOPES,
            "state": hop.state,
            "nonce": hop.nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(asked)}"

    async def id_token(self, code: str, hop: Hop, redirect_uri: str) -> str:
        """The ID token for a code. Whether the issuer has signed it is the API's to check, which takes it.

        Raises:
            IssuerFailed: the issuer refuses the code, or its token is for another sign-in.

        """
        configuration = await self._configuration()
        sent = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": hop.verifier,
            "client_id": self.client.client_id,
        }
        authorization = None
        methods = configuration.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if self.client.secret and "client_secret_basic" in methods:
            del sent["client_id"]
            # RFC 6749, section 2.3.1: both are encoded as in a form.
            authorization = httpx.BasicAuth(quote(self.client.client_id, safe=""), quote(self.client.secret, safe=""))
        elif self.client.secret:
            sent["client_secret"] = self.client.secret
        answer = await self._ask(
            "POST", _endpoint(configuration, "token_endpoint"), data=sent, auth=authorization, what="the code"
        )
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise IssuerFailed("Its answer has no ID token.")
        if _claims(token).get("nonce") != hop.nonce:
            raise IssuerFailed("Its ID token is for another sign-in.")
        return token

    async def _configuration(self) -> Json:
        if self._known is not None and self._monotonic() - self._known[0] < _CONFIGURATION_SECONDS:
            return self._known[1]
        found = await self._ask("GET", f"{self.client.issuer.rstrip('/')}{_CONFIGURATION}", what="its configuration")
        if found.get("issuer") != self.client.issuer:
            raise IssuerFailed("Its configuration is that of another issuer.")
        self._known = (self._monotonic(), found)
        return found

    async def _ask(self, method: str, address: str, *, what: str, **options: Any) -> Json:
        client = httpx.AsyncClient(transport=self._transport, timeout=_FETCH_SECONDS, trust_env=False)
        try:
            async with client, client.stream(method, address, **options) as answer:
                body = b""
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > _MOST_BYTES:
                        raise IssuerFailed(f"Its answer to the question for {what} is too long.")
        except httpx.HTTPError as error:
            raise IssuerFailed(f"{address}: {type(error).__name__}") from error
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if answer.status_code != httpx.codes.OK or not isinstance(found, dict):
            raise IssuerFailed(f"It answers {answer.status_code} to the question for {what}.")
        return found


def openid_at(issuer: str | None, client_id: str | None, secret: str = "") -> OpenIdSignIn | None:
    """The way to the issuer with this URL; None: no issuer is configured, or the Studio is not registered there."""
    if not issuer or not client_id:
        return None
    return OpenIdSignIn(IssuerClient(issuer=issuer, client_id=client_id, secret=secret))


def _endpoint(configuration: Json, name: str) -> str:
    """An address in the issuer's configuration.

    Raises:
        IssuerFailed: it is missing, or what is sent there could be read on its way.

    """
    address = configuration.get(name)
    parts = urlsplit(address) if isinstance(address, str) else None
    if parts is None or not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)):
        raise IssuerFailed(f"Its configuration has no {name} at an https address.")
    return str(address)


def _claims(token: str) -> Json:
    """What a token says, without a look at its signature."""
    try:
        middle = token.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    except (ValueError, IndexError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
