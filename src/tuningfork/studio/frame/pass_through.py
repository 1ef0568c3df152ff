"""Hands requests of the pages' scripts on to the API, with the credential that no script can see.

Only what is in `ALLOWED` is handed on. So a script that somebody smuggles into a page could not make keys or tokens
that outlive the session.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from tuningfork.studio.frame.api_client import Api, ApiUnreachable
from tuningfork.studio.frame.session import Cookies, address_of
from tuningfork.studio.frame.shared_answers import SharedAnswers, WholeAnswer

_ID = r"[A-Za-z0-9][A-Za-z0-9._~-]*"
_OWN, _GEMINI = r"/tuningfork/v1", r"/v1beta"
_TUNED = rf"tunedModels/{_ID}"
_ANSWERING = "generateContent|streamGenerateContent|countTokens"

ALLOWED: tuple[tuple[frozenset[str], re.Pattern[str]], ...] = tuple(
    (frozenset(methods.split()), re.compile(pattern))
    for methods, pattern in (
        ("GET POST", rf"{_OWN}/datasets"),
        ("GET PATCH DELETE", rf"{_OWN}/datasets/{_ID}"),
        ("POST", rf"{_OWN}/datasets/{_ID}:[a-zA-Z]+"),
        ("GET", rf"{_OWN}/datasets/{_ID}/rows"),
        ("GET PATCH", rf"{_OWN}/datasets/{_ID}/rows/{_ID}"),
        ("GET POST", rf"{_OWN}/tunedModels"),
        ("POST", rf"{_OWN}/tunedModels:preview"),
        ("GET", rf"{_OWN}/{_TUNED}/(?:job|series|evaluations|checkpoints|diagnosis|stage|residence|adapter|probes)"),
        ("POST", rf"{_OWN}/{_TUNED}:useCheckpoint"),
        ("POST", rf"{_OWN}/{_TUNED}/checkpoints/[0-9]+:(?:{_ANSWERING})"),
        ("GET POST", rf"{_OWN}/evaluations"),
        ("GET DELETE", rf"{_OWN}/evaluations/{_ID}"),
        ("POST", rf"{_OWN}/evaluations/{_ID}:[a-zA-Z]+"),
        ("GET", rf"{_OWN}/evaluations/{_ID}/(?:rows|csv)"),
        ("GET", rf"{_OWN}/(?:caller|engines|stages|diagnoses)"),
        ("GET", rf"{_GEMINI}/models"),
        ("GET", rf"{_GEMINI}/models/{_ID}"),
        ("POST", rf"{_GEMINI}/models/{_ID}:(?:{_ANSWERING})"),
        ("GET", rf"{_GEMINI}/tunedModels"),
        ("GET PATCH DELETE", rf"{_GEMINI}/{_TUNED}"),
        ("POST", rf"{_GEMINI}/{_TUNED}:(?:{_ANSWERING}|cancel)"),
        ("GET POST", rf"{_GEMINI}/{_TUNED}/permissions"),
        ("GET PATCH DELETE", rf"{_GEMINI}/{_TUNED}/permissions/{_ID}"),
    )
)
"""Which methods of the API, as verbs and path, the pages' scripts may call."""

_FOLLOWED = re.compile(rf"{_OWN}/{_TUNED}/(?:job|series)")
_ANSWERS = tuple(f":{each}" for each in _ANSWERING.split("|"))

SHARED_SECONDS = 0.35
"""How long an answer about a job serves the other pages of the person who has asked. Pages ask less often."""

MOST_BODY_BYTES = 80 * 1024 * 1024
_TO_THE_API = ("accept", "content-type", "content-length", "if-none-match")
_TO_THE_BROWSER = ("content-disposition", "content-type", "content-length", "etag", "retry-after", "x-request-id")
# Generating long answers and reading long files may take minutes until the first byte.
_WAIT = httpx.Timeout(600.0, connect=5.0)


class TooLarge(Exception):
    """The body of a request is larger than any that the API takes."""


@dataclass(frozen=True, slots=True)
class PassThrough:
    """The endpoint of all paths below `/studio/api`."""

    api: Api
    shared: SharedAnswers

    async def answer(self, request: Request) -> Response:
        """The API's answer. Both bodies are handed on while they arrive."""
        path = "/" + request.path_params["path"]
        if not is_allowed(request.method, path):
            return _refusal(403, "PERMISSION_DENIED", f"The Studio's pages may not call {request.method} {path[:200]}.")
        caller = self.api.called_by(Cookies.of(request).credential, address_of(request))
        headers = {name: value for name in _TO_THE_API if (value := request.headers.get(name)) is not None}
        headers |= {**caller.headers(), "accept-encoding": "identity"}
        if int(headers.get("content-length", "0")) > MOST_BODY_BYTES:
            return _too_large()
        if request.method == "GET" and _FOLLOWED.fullmatch(path):
            return await self._followed(request, path, headers, caller.credential)
        if request.method != "GET" and not path.endswith(_ANSWERS):
            self.shared.forget(caller.credential)
        return await self._passed(request, path, headers, caller.credential)

    async def _followed(self, request: Request, path: str, headers: dict[str, str], credential: str | None) -> Response:
        """An answer about a job, which all open pages of one person share for a moment."""

        async def make() -> WholeAnswer:
            passed = await self._passed(request, path, headers, credential)
            if isinstance(passed, StreamingResponse):
                body = b"".join([piece if isinstance(piece, bytes) else b"" async for piece in passed.body_iterator])
                passed = Response(body, passed.status_code, dict(passed.headers))
            return WholeAnswer.of(passed, SHARED_SECONDS)

        what = (path, request.scope["query_string"], headers.get("if-none-match"))
        return (await self.shared.of(credential, what, make)).response(None)

    async def _passed(self, request: Request, path: str, headers: dict[str, str], credential: str | None) -> Response:
        """The API's answer to one request."""
        has_body = request.method in {"POST", "PATCH", "PUT"}
        try:
            answer = await self.api.open(
                request.method,
                path,
                headers,
                query=request.scope["query_string"].decode("latin-1"),
                content=_bounded(request) if has_body else None,
                wait=_WAIT,
            )
        except TooLarge:
            return _too_large()
        except ApiUnreachable as error:
            return _refusal(502, "UNAVAILABLE", f"The server does not answer: {error}")
        except ClientDisconnect:
            return Response(status_code=499)
        kept = {name: value for name in _TO_THE_BROWSER if (value := answer.headers.get(name)) is not None}
        # Without a cookie the API says that a credential is missing, with 403: to the page's script that is a sign-out.
        missing = credential is None and answer.status_code == httpx.codes.FORBIDDEN
        return StreamingResponse(_pieces(answer), 401 if missing else answer.status_code, kept)


def is_allowed(method: str, path: str) -> bool:
    """Whether the pages' scripts may call this."""
    return any(method in methods and pattern.fullmatch(path) for methods, pattern in ALLOWED)


async def _bounded(request: Request) -> AsyncIterator[bytes]:
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > MOST_BODY_BYTES:
            raise TooLarge
        yield piece


async def _pieces(answer: httpx.Response) -> AsyncIterator[bytes]:
    """The pieces of a body. When the browser leaves, the API sees its caller leave.

    Raises:
        TransportError: the API's answer has broken off; the browser must not take the half for the whole.

    """
    try:
        async for piece in answer.aiter_raw():
            yield piece
    finally:
        await answer.aclose()


def _too_large() -> Response:
    return _refusal(413, "INVALID_ARGUMENT", f"The request is larger than {MOST_BODY_BYTES // 2**20} MiB.")


def _refusal(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": {"code": status, "message": message, "status": code}}, status)
