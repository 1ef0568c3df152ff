"""The public keys of an OpenID Connect issuer: fetched when first needed, kept, and fetched anew when they change.

Source: OpenID Connect Discovery 1.0 section 4, RFC 7517.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt

from tuningfork.domain.errors import Unavailable

logger = logging.getLogger(__name__)

LIFETIME_SECONDS = 3_600.0
"""After this long the keys are fetched again, so that one that the issuer gave up does not live on here."""
STALE_SECONDS = 24 * 3_600.0
"""For this long they serve while the issuer cannot be reached."""
REFETCH_SECONDS = 60.0
"""A token with an unknown key makes the keys be fetched again, but strangers make up key ids at will."""
RETRY_SECONDS = 5.0
"""How soon an issuer is asked again that could not be reached."""

_NO_SENSE = (
    *(httpx.HTTPError, httpx.InvalidURL, jwt.PyJWTError),
    *(ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError),
)
"""What can be raised by what a server far away may say."""

_TIMEOUT_SECONDS = 5.0
_FETCH_SECONDS = 15.0
_MAX_BYTES = 1024 * 1024


class IssuerKeys:
    """Safe for any number of threads; one of them fetches at a time, and none waits for an issuer that just failed.

    Args:
        issuer: its URL, below which its configuration is found.
        transport: replaces the network, for tests.
        monotonic: seconds from any beginning, never going back.

    """

    def __init__(
        self,
        issuer: str,
        *,
        transport: httpx.BaseTransport | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._transport = transport
        self._monotonic = monotonic
        self._keys: Mapping[str | None, jwt.PyJWK] = {}
        self._fetch_time = -STALE_SECONDS
        self._try_time = -STALE_SECONDS
        self._failed = False
        self._fetching = threading.Lock()

    def find(self, key_id: str | None) -> jwt.PyJWK:
        """The key of this id; the only key there is for None.

        Raises:
            KeyError: the issuer has none.
            Unavailable: the issuer cannot be asked just now.

        """
        if self._age() >= LIFETIME_SECONDS or key_id not in self._keys:
            self._refresh(key_id)
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

    def _refresh(self, key_id: str | None) -> None:
        # Everybody waits for the very first keys. Later nobody does who has one to go on with, and after a failure
        # nobody at all: the threads have others to serve.
        patience_seconds = 0.0 if self._failed or key_id in self._keys else _FETCH_SECONDS
        if not self._may_fetch(key_id) or not self._fetching.acquire(timeout=patience_seconds):
            return
        try:
            if self._may_fetch(key_id):
                self._fetch()
        finally:
            self._fetching.release()

    def _fetch(self) -> None:
        try:
            keys = self._download()
        except _NO_SENSE as error:
            logger.warning("the keys of %s cannot be had: %s: %s", self._issuer, type(error).__name__, error)
            self._failed = True
        else:
            self._keys = {key.key_id: key for key in keys} | ({None: keys[0]} if len(keys) == 1 else {})
            self._fetch_time = self._monotonic()
            self._failed = False
        self._try_time = self._monotonic()

    def _download(self) -> list[jwt.PyJWK]:
        with httpx.Client(transport=self._transport, timeout=_TIMEOUT_SECONDS) as http:
            configuration = self._get(http, f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            if configuration.get("issuer") != self._issuer:
                raise ValueError(f"its configuration is that of {configuration.get('issuer')!r}")
            place = str(configuration["jwks_uri"])
            if urlsplit(place).scheme != urlsplit(self._issuer).scheme:
                raise ValueError(f"its keys are at {place!r}, which is not as safe a place")
            keys = jwt.PyJWKSet.from_dict(self._get(http, place)).keys
        return [key for key in keys if key.public_key_use in (None, "sig")]

    def _get(self, http: httpx.Client, url: str) -> dict[str, Any]:
        """A JSON object, of bounded size and within a bounded time."""
        deadline = self._monotonic() + _FETCH_SECONDS / 2
        body = b""
        with http.stream("GET", url, headers={"accept": "application/json"}) as response:
            # Redirects are not followed: keys come from where the issuer says, or not at all.
            if response.status_code != httpx.codes.OK:
                raise ValueError(f"{url} answers with status {response.status_code}")
            for piece in response.iter_bytes():
                body += piece
                if len(body) > _MAX_BYTES or self._monotonic() > deadline:
                    raise ValueError(f"{url} sends too much, or too slowly")
        value = json.loads(body)
        if not isinstance(value, dict):
            raise TypeError(f"{url} is no JSON object")
        return value
