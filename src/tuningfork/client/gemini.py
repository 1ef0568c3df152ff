"""The client: one method for each thing the public API can do, over one connection pool.

Synchronous, without retries except in `watch`, which outlives a restart of the server.
"""

import ipaddress
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx

from tuningfork import __version__
from tuningfork.client import archive, dialect, preview
from tuningfork.client.dialect import AccessToken, BaseModelEntry, Json, Operation, TunedModelEntry
from tuningfork.client.errors import ClientError, ServerUnreachable, ServiceRefusal, UnexpectedAnswer
from tuningfork.domain.generation import RequestedSampling
from tuningfork.domain.preview import USUALLY_SHOWN_EXAMPLES, TuningPreview
from tuningfork.domain.tuned_model import ModelChange
from tuningfork.domain.tuning_job import TuningRequest

Parsed = TypeVar("Parsed")

CONNECT_SECONDS = 5.0
# A 40,000-character prompt on a busy CPU may take minutes before its answer begins.
ANSWER_SECONDS = 600.0
# How long `watch` bears a server that is away: longer than a restart takes.
PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.2
PAGE_SIZE = 1_000
MODEL_DEFAULTS = RequestedSampling()


class Client:
    """A connection to one server. Use it as a context manager, or call `close`.

    Args:
        url: scheme, host and port, such as `http://127.0.0.1:8000`.
        api_key: sent as `x-goog-api-key`; None for a server that asks for none.
        transport: replaces the network, for tests.
        sleep: how `watch` waits, in seconds.
        clock: seconds from any beginning, never going back.

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
    ) -> None:
        self.url = url.rstrip("/")
        self._sleep = sleep
        self._clock = clock
        headers = {"user-agent": f"tuningfork/{__version__}"}
        if api_key is not None:
            headers["x-goog-api-key"] = _sendable(api_key)
        self._http = httpx.Client(
            base_url=_checked(self.url),
            headers=headers,
            transport=transport,
            timeout=httpx.Timeout(CONNECT_SECONDS, read=ANSWER_SECONDS),
            # A proxy named in the environment cannot reach this machine's own loopback.
            trust_env=not is_loopback(url),
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

    def is_healthy(self) -> bool:
        """Whether the server is there and can take work."""
        try:
            return self._http.get("/healthz").is_success
        except httpx.TransportError:
            return False

    def base_models(self) -> list[BaseModelEntry]:
        """Every base model, in the order of the server's catalog."""
        return list(self._pages("/v1beta/models", "models", dialect.parse_base_model))

    def tuned_models(self) -> list[TunedModelEntry]:
        """Every tuned model that the key may read, oldest first."""
        return list(self._pages("/v1beta/tunedModels", "tunedModels", dialect.parse_tuned_model))

    def tuned_model(self, name: str) -> TunedModelEntry:
        """One tuned model, by its name with `tunedModels/`."""
        return self._read(dialect.parse_tuned_model, "GET", _path(name))

    def create_tuned_model(self, request: TuningRequest) -> Operation:
        """Begin a tuning run; it goes on at the server whatever happens to the caller.

        Raises:
            ServiceRefusal: with one violation for each fault in the dataset.

        """
        query = {} if request.tuned_model_id is None else {"tunedModelId": request.tuned_model_id}
        return self._read(
            dialect.parse_operation,
            "POST",
            "/v1beta/tunedModels",
            params=query,
            json=dialect.render_creation(request),
        )

    def preview(self, request: TuningRequest, examples: int = USUALLY_SHOWN_EXAMPLES) -> TuningPreview:
        """What would be trained, token by token; nothing begins and nothing is stored.

        Args:
            request: what `create_tuned_model` would be given.
            examples: how many are shown, at most 20; all are measured.

        Raises:
            ServiceRefusal: whatever creating would refuse.

        """
        query = {} if request.tuned_model_id is None else {"tunedModelId": request.tuned_model_id}
        return self._read(
            preview.parse,
            "POST",
            "/tuningfork/v1/tunedModels:preview",
            params={**query, "examples": str(examples)},
            json=dialect.render_creation(request),
        )

    def operation(self, name: str) -> Operation:
        """The present state of a tuning run."""
        return self._read(dialect.parse_operation, "GET", _path(name))

    def operations(self, tuned_model: str) -> list[Operation]:
        """The tuning runs of a tuned model, of which there is one."""
        return list(self._pages(f"{_path(tuned_model)}/operations", "operations", dialect.parse_operation))

    def watch(self, operation: Operation) -> Iterator[Operation]:
        """Yield the run's state again and again until it is done; the last one yielded is the final one.

        Asks at most five times a second, and spends at most a tenth of the time on asking: an answer lists every
        step so far. Bears a server that is away for up to a minute.
        """
        pause_seconds = POLL_SECONDS
        while not operation.done:
            self._sleep(pause_seconds)
            asked = self._clock()
            operation = self._patiently(operation.name)
            pause_seconds = max(POLL_SECONDS, 9 * (self._clock() - asked))
            yield operation

    def cancel(self, operation_name: str) -> None:
        """Ask for a run to stop between two steps; one that is over stays as it is."""
        self._call("POST", _path(operation_name) + ":cancel")

    def update_tuned_model(self, name: str, change: ModelChange) -> TunedModelEntry:
        """Change a tuned model's names, its defaults or its readers; in whatever state it is.

        Raises:
            ServiceRefusal: with one violation for each value that is wrong.

        """
        body, mask = dialect.render_change(change)
        return self._read(dialect.parse_tuned_model, "PATCH", _path(name), params={"updateMask": mask}, json=body)

    def delete_tuned_model(self, name: str) -> None:
        """Delete a tuned model and its adapter for good; a run that is still making it is stopped."""
        self._call("DELETE", _path(name))

    def generate(self, model: str, prompt: str, sampling: RequestedSampling = MODEL_DEFAULTS) -> str:
        """The model's whole answer to one prompt. `model` is `models/...` or `tunedModels/...`."""
        question = dialect.render_question(prompt, sampling)
        return self._read(dialect.parse_text, "POST", _path(model) + ":generateContent", json=question)

    def stream(self, model: str, prompt: str, sampling: RequestedSampling = MODEL_DEFAULTS) -> Iterator[str]:
        """Yield the answer's text piece by piece, as it is generated; closing the iterator stops the generation."""
        question = dialect.render_question(prompt, sampling)
        path = _path(model) + ":streamGenerateContent"
        with self._opened("POST", path, params={"alt": "sse"}, json=question) as response:
            for data in _events(response.iter_bytes()):
                chunk = self._decoded(response.status_code, data)
                if "error" in chunk:
                    raise self._refusal(response.status_code, chunk)
                yield self._understood(dialect.parse_text, chunk)

    def export(self, model: str, directory: Path) -> Path:
        """Fetch a tuned model's adapter as a PEFT directory, which appears complete or not at all.

        Raises:
            ClientError: `directory` exists already, or the archive holds anything but plain files.

        """
        with self._opened("GET", f"/tuningfork/v1/{quote(model)}/adapter") as response:
            return archive.unpack(response.iter_bytes(), directory)

    def create_access_token(self, scopes: Sequence[str]) -> AccessToken:
        """An access token for the holder of the key, good for an hour and for these scopes only.

        Raises:
            ServiceRefusal: the key is not valid, or a scope is none.

        """
        body = {"scopes": list(scopes)}
        return self._read(dialect.parse_access_token, "POST", "/tuningfork/v1/accessTokens", json=body)

    def _pages(self, path: str, key: str, parse: Callable[[Json], Parsed]) -> Iterator[Parsed]:
        token = ""
        while True:
            query: dict[str, str | int] = {"pageSize": PAGE_SIZE, **({"pageToken": token} if token else {})}
            page = self._call("GET", path, params=query)
            for entry in page.get(key, ()):
                yield self._understood(parse, entry)
            token = page.get("nextPageToken", "")
            if not token:
                return

    def _patiently(self, operation_name: str) -> Operation:
        deadline = self._clock() + PATIENCE_SECONDS
        while True:
            try:
                return self.operation(operation_name)
            except ClientError as error:
                if not error.may_pass or self._clock() > deadline:
                    raise
            self._sleep(POLL_SECONDS)

    def _read(self, parse: Callable[[Json], Parsed], method: str, path: str, **sent: Any) -> Parsed:
        return self._understood(parse, self._call(method, path, **sent))

    def _call(self, method: str, path: str, **sent: Any) -> dict[str, Any]:
        with self._opened(method, path, **sent) as response:
            return self._decoded(response.status_code, response.read())

    @contextmanager
    def _opened(self, method: str, path: str, **sent: Any) -> Iterator[httpx.Response]:
        """An answer with status 200 whose body is still to be read; every other end is an error."""
        try:
            with self._http.stream(method, path, **sent) as response:
                if response.status_code != httpx.codes.OK:
                    raise self._refusal(response.status_code, self._decoded(response.status_code, response.read()))
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
        except httpx.TransportError as error:
            raise ServerUnreachable(
                f"The connection to {self.url} broke: {str(error) or type(error).__name__}.",
                advice="The server may be restarting: try again, and see its log if it happens again.",
            ) from error

    def _decoded(self, http_status: int, body: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise self._not_ours(f"status {http_status}, {body[:80]!r}")
        return answer

    def _refusal(self, http_status: int, answer: dict[str, Any]) -> ServiceRefusal:
        refusal = self._understood(dialect.parse_refusal, answer)
        return ServiceRefusal(
            refusal.message,
            http_status=http_status,
            status=refusal.status,
            violations=refusal.violations,
            advice=_advice(refusal),
        )

    def _understood(self, parse: Callable[[Json], Parsed], answer: Json) -> Parsed:
        try:
            return parse(answer)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise self._not_ours(json.dumps(answer, ensure_ascii=False)[:200]) from error

    def _not_ours(self, seen: str) -> UnexpectedAnswer:
        return UnexpectedAnswer(
            f"{self.url} answers, but not like a Tuningfork server: {seen}",
            advice="Check that --url names the server itself, without a path.",
        )


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine itself."""
    try:
        host = httpx.URL(url).host
    except httpx.InvalidURL:
        return False
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _path(name: str) -> str:
    return f"/v1beta/{quote(name)}"


def _checked(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ClientError(f"{url!r} is not a URL: {error}.", advice="Write it like http://127.0.0.1:8000.") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ClientError(f"{url!r} names no server.", advice="Write it like http://127.0.0.1:8000.")
    return parsed


def _sendable(api_key: str) -> str:
    if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise ClientError(
            "The API key is empty, or holds blanks or characters that no key has.",
            advice="Copy it again, or make a new one with `tuningfork keys create`.",
        )
    return api_key


def _advice(refusal: dialect.Refusal) -> str:
    if refusal.reason == "API_KEY_INVALID":
        return "Make a key with `tuningfork keys create` and pass it as --api-key or TUNINGFORK_API_KEY."
    if "unregistered callers" in refusal.message:
        return "Pass a key as --api-key or TUNINGFORK_API_KEY; `tuningfork keys create` makes one."
    return ""


def _events(body: Iterator[bytes]) -> Iterator[bytes]:
    """The data of each server-sent event; the dialect writes each in one line.

    Splits at LF only: a splitter that knows Unicode would cut JSON strings at U+2028 or U+0085.
    """
    rest = b""
    for piece in body:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line.removeprefix(b"data:")
