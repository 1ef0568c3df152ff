"""The client: one method for each thing the public API can do, over one connection pool.

Synchronous, without retries except in `watch`, which outlives a restart of the server.
"""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx

from tuningfork import __version__
from tuningfork.client import (
    adapter_directory,
    address,
    answer_bodies,
    answer_fields,
    archive,
    dialect,
    findings,
    preview,
    stages,
)
from tuningfork.client.answer_fields import Json
from tuningfork.client.deadline import Connections, Deadline
from tuningfork.client.dialect import AccessToken, BaseModelEntry, Operation, TunedModelEntry
from tuningfork.client.errors import ClientError, ServerUnreachable, ServiceRefusal, UnexpectedAnswer
from tuningfork.client.findings import RunFinding
from tuningfork.client.stages import RunStage
from tuningfork.domain.generation import RequestedSampling
from tuningfork.domain.preview import USUALLY_SHOWN_EXAMPLES, TuningPreview
from tuningfork.domain.tuned_model import ModelChange
from tuningfork.domain.tuning_job import TuningRequest

Parsed = TypeVar("Parsed")

CONNECT_SECONDS = 5.0
# A 40,000-character prompt on a busy CPU may take minutes before its answer begins.
ANSWER_SECONDS = 600.0
# Of a whole stream of text, or of an adapter's archive.
STREAM_SECONDS = 3_600.0
# How long `watch` bears a server that is away: longer than a restart takes.
PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.2
PAGE_SIZE = 1_000
_METADATA = "tunedModel,totalSteps,completedSteps"
_WITHOUT_STEPS = f"operations(name,done,error,metadata({_METADATA})),nextPageToken"
MODEL_DEFAULTS = RequestedSampling()


class Client:
    """A connection to one server. Use it as a context manager, or call `close`.

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

    def is_healthy(self) -> bool:
        """Whether the server is there and can take work."""
        try:
            with self._opened("GET", "/healthz", CONNECT_SECONDS):
                return True
        except ClientError:
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

        A request of the Gemini API is sent to its method; one with a rank to the server's own, which takes it.

        Raises:
            ServiceRefusal: with one violation for each fault in the dataset.

        """
        path, query = dialect.creation_path(request), dialect.creation_query(request)
        return self._read(dialect.parse_operation, "POST", path, params=query, json=dialect.render_creation(request))

    def preview(self, request: TuningRequest, examples: int = USUALLY_SHOWN_EXAMPLES) -> TuningPreview:
        """What would be trained, token by token; nothing begins and nothing is stored.

        Args:
            request: what `create_tuned_model` would be given.
            examples: how many are shown, at most 20; all are measured.

        Raises:
            ServiceRefusal: whatever creating would refuse.

        """
        return preview.parse(self.preview_answer(request, examples))

    def preview_answer(self, request: TuningRequest, examples: int = USUALLY_SHOWN_EXAMPLES) -> Json:
        """Like `preview`, and returns the JSON, which `preview.parse` can read."""
        query = dialect.creation_query(request)
        return self._read(
            preview.checked,
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

    def all_operations(self) -> list[Operation]:
        """The tuning runs of all models that the key may read, without their steps."""
        return list(self._pages("/v1beta/operations", "operations", dialect.parse_operation, fields=_WITHOUT_STEPS))

    def diagnosis(self, tuned_model: str) -> tuple[RunFinding, ...]:
        """What the losses of a model's run give reason to warn of, with what to try."""
        return self._read(findings.parse_diagnosis, "GET", f"/tuningfork/v1/{quote(tuned_model)}/diagnosis")

    def diagnoses(self) -> dict[str, tuple[RunFinding, ...]]:
        """By model, the kinds of findings of all runs that the key may read; runs without any are not among them."""
        return dict(self._pages("/tuningfork/v1/diagnoses", "diagnoses", findings.parse_diagnosed))

    def stage(self, tuned_model: str) -> RunStage:
        """What a model's run is doing, more closely than its operation tells."""
        return self._read(stages.parse_stage, "GET", f"/tuningfork/v1/{quote(tuned_model)}/stage")

    def stages(self) -> dict[str, RunStage]:
        """By model, what the runs that the key may read are doing; those that have ended are not among them."""
        return dict(self._pages("/tuningfork/v1/stages", "stages", stages.parse_staged))

    def watch(self, operation: Operation) -> Iterator[Operation]:
        """Yield the run's state again and again until it is done; the last one yielded is the final one.

        Asks at most five times a second, and spends at most a tenth of the time on asking: an answer lists every
        step so far. Bears a server that is away for up to a minute.
        """
        pause_seconds = POLL_SECONDS
        while not operation.done:
            self._sleep(pause_seconds)
            asked = self._clock()
            operation = stages.told(self._patiently(operation.name), self.stage)
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
        return dialect.parse_text(self.generate_answer(model, prompt, sampling))

    def generate_answer(self, model: str, prompt: str, sampling: RequestedSampling = MODEL_DEFAULTS) -> Json:
        """Like `generate`, and returns the GenerateContentResponse. A text that is withheld is no error here."""
        question = dialect.render_question(prompt, sampling)
        return self._read(dialect.checked_answer, "POST", _path(model) + ":generateContent", json=question)

    def stream(self, model: str, prompt: str, sampling: RequestedSampling = MODEL_DEFAULTS) -> Iterator[str]:
        """Yield the answer's text piece by piece, as it is generated; closing the iterator stops the generation."""
        with closing(self.stream_answers(model, prompt, sampling)) as answers:
            yield from map(dialect.parse_text, answers)

    def stream_answers(self, model: str, prompt: str, sampling: RequestedSampling = MODEL_DEFAULTS) -> Generator[Json]:
        """Like `stream`, and yields each GenerateContentResponse."""
        question = dialect.render_question(prompt, sampling)
        path = _path(model) + ":streamGenerateContent"
        with self._opened("POST", path, STREAM_SECONDS, params={"alt": "sse"}, json=question) as response:
            for data in answer_bodies.events(response.iter_bytes(), self.url):
                chunk = self._decoded(response.status_code, data)
                if "error" in chunk:
                    raise self._refusal(response.status_code, chunk)
                yield self._understood(dialect.checked_answer, chunk)

    def export(self, model: str, directory: Path, base_name: str | None = None) -> Path:
        """Fetch a tuned model's adapter as a PEFT directory, which appears complete or not at all.

        `base_name` is what the adapter is to call its base; None: its Hub id, or its public name.

        Raises:
            ClientError: `directory` exists already, or the archive holds anything but plain files.

        """
        query = {"baseName": base_name} if base_name else {}
        path = f"/tuningfork/v1/{quote(model)}/adapter"
        with self._opened("GET", path, STREAM_SECONDS, params=query) as response:
            return archive.unpack(response.iter_bytes(), directory)

    def import_adapter(
        self, directory: Path, base_model: str, *, display_name: str = "", tuned_model_id: str | None = None
    ) -> TunedModelEntry:
        """Make a tuned model of an adapter directory in PEFT's format; it is checked before anything is sent.

        Raises:
            ClientError: the directory holds no adapter that can be served.
            ServiceRefusal: there is no such base, the adapter is not for it, or the id is taken.

        """
        named = {"baseModel": base_model, "displayName": display_name, "tunedModelId": tuned_model_id}
        sent = {"params": {name: value for name, value in named.items() if value}, "seconds": STREAM_SECONDS}
        adapter = adapter_directory.read(directory).request()
        return self._read(dialect.parse_tuned_model, "POST", "/tuningfork/v1/tunedModels:import", **sent, **adapter)

    def create_access_token(self, scopes: Sequence[str]) -> AccessToken:
        """An access token for the holder of the key, good for an hour and for these scopes only.

        Raises:
            ServiceRefusal: the key is not valid, or a scope is none.

        """
        body = {"scopes": list(scopes)}
        return self._read(dialect.parse_access_token, "POST", "/tuningfork/v1/accessTokens", json=body)

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


def _path(name: str) -> str:
    return f"/v1beta/{quote(name)}"
