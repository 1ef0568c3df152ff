"""The public keys of an OpenID Connect issuer: fetched when first needed, kept, and fetched anew when they change.

Source: OpenID Connect Discovery 1.0 section 4, RFC 7517.
"""

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import jwt

from tuningfork.domain.errors import Unavailable
from tuningfork.service.identity.name_lookup import NameLookups, Resolve

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger(__name__)

LIFETIME_SECONDS = 3_600.0
"""The age at which the keys are fetched again, so that a key that the issuer has withdrawn is no longer accepted."""
STALE_SECONDS = 24 * 3_600.0
"""How long fetched keys are used if the issuer cannot be reached."""
REFETCH_SECONDS = 60.0
"""The shortest time between two fetches: a token with an unknown key id leads to a fetch, and anybody can send one."""
RETRY_SECONDS = 5.0
"""The shortest time between a failed fetch and the next."""

_NO_SENSE = (jwt.PyJWTError, ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError)
"""All errors that the issuer's answer can lead to, whatever it contains, besides those of the transport."""

FETCH_SECONDS = 10.0
"""How long a fetch may take, from looking up the issuer's address to the last byte of the last answer."""

_MAX_BYTES = 1024 * 1024


class KeysAwaited(Unavailable):
    """The keys are being fetched. Once `ready` is done, call again: the keys are there, or the fetch has failed."""

    def __init__(self, issuer: str, ready: "Future[None]") -> None:
        super().__init__(f"The keys of the issuer {issuer} are being fetched. Try again in a moment.")
        self.ready = ready


class IssuerKeys:
    """The public keys of one issuer, fetched by a background thread, so that no caller waits. Thread-safe.

    Args:
        issuer: the issuer's URL, below which its configuration is found.
        transport: replaces the network, for tests.
        monotonic: a monotonic clock, in seconds.
        fetch_seconds: how long a fetch may take, from looking up the issuer's address to the last byte.
        resolve: looks up addresses, as `socket.getaddrinfo`.

    """

    def __init__(
        self,
        issuer: str,
        *,
        transport: "httpx.AsyncBaseTransport | None" = None,
        monotonic: Callable[[], float] = time.monotonic,
        fetch_seconds: float = FETCH_SECONDS,
        resolve: Resolve = socket.getaddrinfo,
    ) -> None:
        self._issuer = issuer
        self._transport = transport
        self._monotonic = monotonic
        self._fetch_seconds = fetch_seconds
        self._lookups = NameLookups(resolve)
        self._keys: Mapping[str | None, jwt.PyJWK] = {}
        self._fetch_time = -STALE_SECONDS
        self._try_time = -STALE_SECONDS
        self._failed = False
        self._lock = threading.Lock()
        self._fetching: Future[None] | None = None

    def find(self, key_id: str | None) -> jwt.PyJWK:
        """The key with this id. `key_id` None: the issuer's only key.

        Raises:
            KeyError: the issuer has no such key.
            KeysAwaited: they are being fetched, and this key is not known yet.
            Unavailable: the keys cannot be fetched at the moment.

        """
        fetching = self._refresh(key_id) if self._age() >= LIFETIME_SECONDS or key_id not in self._keys else None
        if fetching is not None and not (key_id in self._keys and self._age() < STALE_SECONDS):
            raise KeysAwaited(self._issuer, fetching)
        if key_id in self._keys and self._age() < STALE_SECONDS:
            return self._keys[key_id]
        if self._failed or self._age() >= STALE_SECONDS:
            raise Unavailable(
                f"Access tokens cannot be checked now: their issuer {self._issuer} does not give its keys. API keys "
                "work. Try again in a moment."
            )
        raise KeyError(key_id)

    def _age(self) -> float:
        return self._monotonic() - self._fetch_time

    def _may_fetch(self, key_id: str | None) -> bool:
        if self._failed:
            return self._monotonic() - self._try_time >= RETRY_SECONDS
        wanted = self._age() >= LIFETIME_SECONDS or key_id not in self._keys
        return wanted and self._monotonic() - self._try_time >= REFETCH_SECONDS

    def _refresh(self, key_id: str | None) -> "Future[None] | None":
        """Begin a fetch if one is due and none is in progress. Returns the fetch in progress; None: there is none."""
        with self._lock:
            if self._fetching is None and self._may_fetch(key_id):
                self._fetching = Future()
                # A daemon thread, so that a server that is stopping does not wait for the issuer's server.
                threading.Thread(target=self._fetch, args=(self._fetching,), name="issuer-keys", daemon=True).start()
            return self._fetching

    def _fetch(self, fetching: "Future[None]") -> None:
        import httpx  # noqa: PLC0415 - a twelfth of a second, which servers without an issuer need not spend

        fetching.set_running_or_notify_cancel()
        try:
            with asyncio.Runner(loop_factory=self._lookups.loop) as runner:
                keys = runner.run(self._download_in_time())
        except (*_NO_SENSE, httpx.HTTPError, httpx.InvalidURL) as error:
            logger.warning("the keys of %s cannot be had: %s: %s", self._issuer, type(error).__name__, error)
            self._failed = True
        else:
            self._keys = {key.key_id: key for key in keys} | ({None: keys[0]} if len(keys) == 1 else {})
            self._fetch_time = self._monotonic()
            self._failed = False
        finally:
            self._try_time = self._monotonic()
            with self._lock:
                self._fetching = None
            fetching.set_result(None)

    async def _download_in_time(self) -> list[jwt.PyJWK]:
        try:
            async with asyncio.timeout(self._fetch_seconds):
                return await self._download()
        except TimeoutError as error:
            raise ValueError(f"it did not give them within {self._fetch_seconds:g} seconds") from error

    async def _download(self) -> list[jwt.PyJWK]:
        import httpx  # noqa: PLC0415 - see `_fetch`

        # The deadline above covers looking up addresses, connecting, headers and bodies; httpx's own timeouts start
        # again with each byte.
        async with httpx.AsyncClient(transport=self._transport, timeout=None) as http:  # noqa: S113
            configuration = await self._get(http, f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            if configuration.get("issuer") != self._issuer:
                raise ValueError(f"its configuration is that of {configuration.get('issuer')!r}")
            place = str(configuration["jwks_uri"])
            if urlsplit(place).scheme != urlsplit(self._issuer).scheme:
                raise ValueError(f"its keys are at {place!r}, which is not as safe a place")
            keys = jwt.PyJWKSet.from_dict(await self._get(http, place)).keys
        return [key for key in keys if key.public_key_use in (None, "sig")]

    async def _get(self, http: "httpx.AsyncClient", url: str) -> dict[str, Any]:
        """Download a JSON object, of 1 MiB at most."""
        body = b""
        async with http.stream("GET", url, headers={"accept": "application/json"}) as response:
            # Redirects are not followed: keys are accepted only from the address that the issuer names.
            if response.status_code != HTTPStatus.OK:
                raise ValueError(f"{url} answers with status {response.status_code}")
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > _MAX_BYTES:
                    raise ValueError(f"{url} sends more than {_MAX_BYTES} bytes")
        value = json.loads(body)
        if not isinstance(value, dict):
            raise TypeError(f"{url} is no JSON object")
        return value
