"""Calls of the server's public API, each with the credential of the person who visits a page."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

Json = Mapping[str, Any]

_PAGE_SECONDS = 20.0
_UPLOAD_SECONDS = 300.0
_CONNECT_SECONDS = 5.0


class ApiRefusal(Exception):
    """The API has answered with an error. `code` is its name, such as `NOT_FOUND`."""

    def __init__(
        self, status: int, code: str, message: str, *, details: tuple[Json, ...] = (), retry_after: int | None = None
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.retry_after = retry_after

    @property
    def signed_out(self) -> bool:
        """Whether the credential is missing, wrong, expired or revoked."""
        reasons = {each.get("reason") for each in self.details}
        return self.status == httpx.codes.UNAUTHORIZED or "API_KEY_INVALID" in reasons


class ApiUnreachable(Exception):
    """The API has not answered, or with something that no server of ours says."""


class Api:
    """The server whose API the Studio shows. Its connections are shared by all visitors.

    Args:
        api_url: its address.
        transport: how to reach it; None: over TCP.

    """

    def __init__(self, api_url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.url = api_url.rstrip("/")
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    def called_by(self, credential: str | None, address: str) -> "ApiCaller":
        """Calls with this credential for the visitor at this address.

        Args:
            credential: None: none, which a server without authentication accepts.
            address: the server on this machine counts wrong keys by it, and logs it; "": unknown.

        """
        return ApiCaller(self, credential, address)

    async def open(
        self, method: str, path: str, headers: Mapping[str, str], *, query: str = "", content: Any = None, wait: Any
    ) -> httpx.Response:
        """The answer whose body is still to come; the caller closes it.

        Raises:
            ApiUnreachable: the server cannot be reached or has not answered in time.

        """
        # Made here and not before: it belongs to the event loop in which it is used.
        if self._client is None:
            limits = httpx.Limits(max_connections=200, max_keepalive_connections=20)
            self._client = httpx.AsyncClient(transport=self._transport, limits=limits, trust_env=False)
        address = f"{self.url}{path}" + (f"?{query}" if query else "")
        request = self._client.build_request(method, address, headers=headers, content=content, timeout=wait)
        try:
            return await self._client.send(request, stream=True)
        except httpx.TransportError as error:
            raise ApiUnreachable(f"{self.url}: {error or type(error).__name__}") from error

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


@dataclass(frozen=True, slots=True)
class ApiCaller:
    """The API as one person may use it."""

    api: Api
    credential: str | None
    address: str = ""

    @staticmethod
    def path(*parts: str) -> str:
        """A path of parts that are constant and, in between, names that may hold any characters.

        `path("/tuningfork/v1/tunedModels/", model_id, "/job")`
        """
        return "".join(quote(part, safe="") if index % 2 else part for index, part in enumerate(parts))

    def headers(self) -> dict[str, str]:
        """The credential as a header, and for whom the Studio asks, as proxies say it."""
        headers = {"x-forwarded-for": self.address} if self.address else {}
        return headers if self.credential is None else {**headers, "authorization": f"Bearer {self.credential}"}

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        """The answer to a GET.

        Raises:
            ApiRefusal: it is an error.
            ApiUnreachable: there is none.

        """
        return await self._ask("GET", path, query or {}, None, "", _PAGE_SECONDS)

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        *,
        seconds: float = _PAGE_SECONDS,
    ) -> Json:
        """The answer to a request that changes something. The body is sent as JSON.

        Args:
            method: the verb.
            path: below the server's address.
            body: what is sent; None: nothing.
            query: the parameters of the query.
            seconds: how long to wait at most.

        Raises:
            ApiRefusal: it is an error.
            ApiUnreachable: there is none.

        """
        content = None if body is None else json.dumps(body).encode()
        return await self._ask(method, path, query or {}, content, "application/json", seconds)

    async def upload(self, path: str, content: bytes, query: Mapping[str, str] | None = None) -> Json:
        """The answer to a POST whose body is a file.

        Raises:
            ApiRefusal: it is an error.
            ApiUnreachable: there is none.

        """
        return await self._ask("POST", path, query or {}, content, "application/octet-stream", _UPLOAD_SECONDS)

    async def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        content: bytes | None,
        content_type: str,
        seconds: float,
    ) -> Json:
        headers = {**self.headers(), "accept": "application/json"}
        if content is not None:
            headers["content-type"] = content_type
        words = str(httpx.QueryParams({"prettyPrint": "false", **query}))
        wait = httpx.Timeout(seconds, connect=_CONNECT_SECONDS)
        answer = await self.api.open(method, path, headers, query=words, content=content, wait=wait)
        try:
            text = await answer.aread()
        except httpx.TransportError as error:
            raise ApiUnreachable(f"{self.api.url}: {error or type(error).__name__}") from error
        finally:
            await answer.aclose()
        return _read(answer, text)


def _read(answer: httpx.Response, text: bytes) -> Json:
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        found = None
    if answer.is_success and isinstance(found, dict):
        return found
    error = found.get("error") if isinstance(found, dict) else None
    if not isinstance(error, dict):
        raise ApiUnreachable(
            f"{answer.request.url.host} answered {answer.status_code} with a body that is no JSON object"
        )
    retry_after = answer.headers.get("retry-after", "")
    raise ApiRefusal(
        answer.status_code,
        str(error.get("status", "")),
        str(error.get("message", "")),
        details=tuple(each for each in error.get("details", ()) if isinstance(each, dict)),
        retry_after=int(retry_after) if retry_after.isdecimal() else None,
    )
