"""The client: one method for each thing the public API can do, over one connection pool.

Synchronous, without retries except in `watch`, which outlives a restart of the server.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from tuningfork.client import (
    adapter_directory,
    answer_bodies,
    answer_fields,
    archive,
    dialect,
    findings,
    preview,
    stages,
)
from tuningfork.client.answer_fields import Json
from tuningfork.client.connection import CONNECT_SECONDS, PAGE_SIZE, Connection
from tuningfork.client.dialect import AccessToken, BaseModelEntry, Operation, TunedModelEntry
from tuningfork.client.errors import ClientError
from tuningfork.client.evaluations import EvaluationCalls
from tuningfork.client.findings import RunFinding
from tuningfork.client.refresh_tokens import RefreshTokenCalls
from tuningfork.client.results import RunCheckpoint, RunResults, parse_checkpoints, parse_results
from tuningfork.client.service_accounts import ServiceAccountCalls
from tuningfork.client.stages import RunStage
from tuningfork.domain.early_stopping import MAX_EVALUATIONS
from tuningfork.domain.generation import RequestedSampling
from tuningfork.domain.preview import USUALLY_SHOWN_EXAMPLES, TuningPreview
from tuningfork.domain.tuned_model import ModelChange
from tuningfork.domain.tuning_job import TuningRequest

# Of a whole stream of text, or of an adapter's archive.
STREAM_SECONDS = 3_600.0
# How long `watch` bears a server that is away: longer than a restart takes.
PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.2
_METADATA = "tunedModel,totalSteps,completedSteps"
_STATE = f"name,done,error,metadata({_METADATA})"
_WITHOUT_STEPS = f"operations({_STATE}),nextPageToken"
MODEL_DEFAULTS = RequestedSampling()


class Client(Connection):
    """The calls of the public API."""

    @property
    def refresh_tokens(self) -> RefreshTokenCalls:
        """The calls about refresh tokens."""
        return RefreshTokenCalls(self._read)

    @property
    def service_accounts(self) -> ServiceAccountCalls:
        """The calls about service accounts."""
        return ServiceAccountCalls(self._read)

    @property
    def evaluations(self) -> EvaluationCalls:
        """The calls about evaluations."""
        return EvaluationCalls(self._read, self._sleep)

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

    def first_base_model(self) -> str:
        """The name of the first base model that can be tuned: what is tuned if nobody names one.

        Raises:
            ClientError: the server has none.

        """
        for model in self.base_models():
            methods = model.answer.get("supportedGenerationMethods", ())
            if isinstance(methods, list) and "createTunedModel" in methods:
                return model.name
        raise ClientError(
            "The server has no base model that can be tuned.", advice="Name a tuned model as --base-model."
        )

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

    def state(self, name: str) -> Operation:
        """The present state of a tuning run, without its steps. Bears a server that is away for up to a minute."""
        return self._patiently(name, fields=_STATE)

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

    def results(self, tuned_model: str) -> RunResults:
        """What the validation set of a model's run has shown so far."""
        found, token = RunResults(), ""
        while True:
            query = {"pageSize": str(PAGE_SIZE), **({"pageToken": token} if token else {})}
            page = self._call("GET", f"/tuningfork/v1/{quote(tuned_model)}/evaluations", params=query)
            found = found.and_then(self._understood(parse_results, page))
            token = self._understood(lambda answer: answer_fields.text(answer, "nextPageToken", ""), page)
            if not token:
                return found
            if len(found.evaluations) > MAX_EVALUATIONS + PAGE_SIZE:
                raise self._not_ours("its list of evaluations has no end")

    def checkpoints(self, tuned_model: str) -> tuple[RunCheckpoint, ...]:
        """The checkpoints of a tuned model, in the order of their numbers."""
        return self._read(parse_checkpoints, "GET", f"/tuningfork/v1/{quote(tuned_model)}/checkpoints")

    def use_checkpoint(self, tuned_model: str, number: int) -> tuple[RunCheckpoint, ...]:
        """Make a checkpoint the model's default, with whose weights it answers; returns all checkpoints.

        Raises:
            ServiceRefusal: there is no such checkpoint, or the model is still being made.

        """
        path = f"/tuningfork/v1/{quote(tuned_model)}:useCheckpoint"
        return self._read(parse_checkpoints, "POST", path, json={"checkpoint": number})

    def watch(self, operation: Operation) -> Iterator[Operation]:
        """Yield the run's state again and again until it is done; the last one yielded is the final one.

        Asks at most five times a second, and spends at most a tenth of the time on asking: an answer lists every
        step so far. Bears a server that is away for up to a minute.
        """
        pause_seconds = POLL_SECONDS
        while not operation.done:
            self._sleep(pause_seconds)
            asked = self._clock()
            told = stages.told(self._patiently(operation.name), self.stage)
            is_validated = operation.validation_count > 0 or operation.results is not None
            told = replace(told, results=operation.results, validation_count=operation.validation_count)
            operation = self.with_results(told) if is_validated else told
            pause_seconds = max(POLL_SECONDS, 9 * (self._clock() - asked))
            yield operation

    def with_results(self, operation: Operation) -> Operation:
        """The run with what its validation set has shown so far; as it is if there is nothing new."""
        before = operation.results
        if before is not None and not before.may_be_newer(operation.completed_steps, done=operation.done):
            return operation
        try:
            return replace(operation, results=self.results(operation.tuned_model))
        except ClientError as error:
            # A server of an earlier version does not know the method, and its runs have no validation sets.
            is_known = before is not None or error.may_pass
            return operation if is_known else replace(operation, results=RunResults())

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

    def _patiently(self, operation_name: str, **query: str) -> Operation:
        deadline = self._clock() + PATIENCE_SECONDS
        while True:
            try:
                return self._read(dialect.parse_operation, "GET", _path(operation_name), params=query)
            except ClientError as error:
                if not error.may_pass or self._clock() > deadline:
                    raise
            self._sleep(POLL_SECONDS)


def _path(name: str) -> str:
    return f"/v1beta/{quote(name)}"
