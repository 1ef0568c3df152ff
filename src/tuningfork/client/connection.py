"""A connection to one server: sends requests and reads answers; every other end of a call is an error."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from tuningfork import __version__
from tuningfork.client import address, answer_bodies, answer_fields, dialect
from tuningfork.client.answer_fields import Json
from tuningfork.client.deadline import Connections, Deadline
from tuningfork.client.errors import ClientError, ServerUnreachable, ServiceRefusal, UnexpectedAnswer

Parsed = TypeVar("Parsed")

CONNECT_SECONDS = 5.0
# A 40,000-character prompt on a busy CPU may take minutes before its answer begins.
ANSWER_SECONDS = 600.0
PAGE_SIZE = 1_000


class Connection:
    """A pool of connections to one server. Use it as a context manager, or call `close`.

    Args:
        url: scheme, host and port, such as `http://127.0.0.1:8000`.
        api_key: sent as `x-goog-api-key`; None for a server that asks for none.
        transport: replaces the network, for tests.
        sleep: how `watch` waits, in seconds.
        clock: seconds from any beginning, never going back.
        answer_seconds: how long a whole answer in JSON may take.

    Raises:
        ClientError: the URL or the key cannot be sent at all.

    """

    def __init__(
        self,
        url: str,
        api_key: str | None,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self.url = url.rstrip("/")
        self._sleep = sleep
        self._clock = clock
        self._answer_seconds = answer_seconds
        self._connections = Connections()
        headers = {"user-agent": f"tuningfork/{__version__}", "accept-encoding": "identity"}
        if api_key is not None:
            headers["x-goog-api-key"] = address.checked_key(api_key)
        self._http = httpx.Client(
            base_url=address.checked_url(self.url),
            headers=headers,
            transport=transport,
            timeout=httpx.Timeout(CONNECT_SECONDS, read=ANSWER_SECONDS),
            # A proxy named in the environment cannot reach this machine's own loopback.
            trust_env=not address.is_loopback(url),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def _pages(self, path: str, key: str, parse: Callable[[Json], Parsed], **further: str) -> Iterator[Parsed]:
        token, seen = "", set[str]()
        while True:
            query: dict[str, str | int] = {"pageSize": PAGE_SIZE, **({"pageToken": token} if token else {}), **further}
            page = self._call("GET", path, params=query)
            for entry in self._understood(lambda answer: answer_fields.objects(answer, key), page):
                yield self._understood(parse, entry)
            token = self._understood(lambda answer: answer_fields.text(answer, "nextPageToken", ""), page)
            if not token:
                return
            if token in seen or len(seen) == answer_bodies.MAX_PAGES:
                raise self._not_ours(f"its list of {key} has no end")
            seen.add(token)

    def _read(self, parse: Callable[[Json], Parsed], method: str, path: str, **sent: Any) -> Parsed:
        return self._understood(parse, self._call(method, path, **sent))

    def _call(self, method: str, path: str, *, seconds: float | None = None, **sent: Any) -> dict[str, Any]:
        with self._opened(method, path, seconds or self._answer_seconds, **sent) as response:
            return self._decoded(response.status_code, answer_bodies.whole(response.iter_bytes(), self.url))

    @contextmanager
    def _opened(self, method: str, path: str, seconds: float, **sent: Any) -> Iterator[httpx.Response]:
        """An answer with status 200 whose body is still to be read; every other end is an error."""
        deadline = Deadline(self._connections, seconds)
        try:
            with deadline, self._http.stream(method, path, extensions=self._connections.extensions, **sent) as response:
                self._refuse_packed(response)
                if response.status_code != httpx.codes.OK:
                    body = answer_bodies.whole(response.iter_bytes(), self.url)
                    raise self._refusal(response.status_code, self._decoded(response.status_code, body))
                yield response
        except UnicodeEncodeError as error:
            raise ClientError(
                f"A text holds {error.object[error.start]!r}, half a character, which cannot be sent.",
                advice="Check that the text is UTF-8.",
            ) from error
        except httpx.ConnectError as error:
            raise ServerUnreachable(
                f"No server answers at {self.url}.",
                advice="Start one with `tuningfork serve`, or name another with --url or TUNINGFORK_URL.",
            ) from error
        except httpx.HTTPError as error:
            why = (
                f"no whole answer within {seconds:.0f} seconds"
                if deadline.has_passed
                else str(error) or type(error).__name__
            )
            raise ServerUnreachable(
                f"The connection to {self.url} broke: {why}.",
                advice="The server may be restarting: try again, and see its log if it happens again.",
            ) from error

    def _refuse_packed(self, response: httpx.Response) -> None:
        # Asked not to; and a few bytes could unpack to any number.
        if (packing := response.headers.get("content-encoding", "identity")) != "identity":
            raise self._not_ours(f"its answer is packed ({packing[:40]!r})")

    def _decoded(self, http_status: int, body: bytes) -> dict[str, Any]:
        answer = answer_bodies.json_object(body)
        if answer is None:
            raise self._not_ours(f"status {http_status}, {body[:80]!r}")
        return answer

    def _refusal(self, http_status: int, answer: dict[str, Any]) -> ServiceRefusal:
        refusal = self._understood(dialect.parse_refusal, answer)
        return ServiceRefusal(
            refusal.message,
            http_status=http_status,
            status=refusal.status,
            violations=refusal.violations,
            advice=dialect.advice_on(refusal),
        )

    def _understood(self, parse: Callable[[Json], Parsed], answer: Json) -> Parsed:
        try:
            return parse(answer)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise self._not_ours(answer_bodies.beginning_of(answer)) from error

    def _not_ours(self, seen: str) -> UnexpectedAnswer:
        return UnexpectedAnswer(
            f"{self.url} answers, but not like a Tuningfork server: {seen}",
            advice="Check that --url names the server itself, without a path.",
        )
