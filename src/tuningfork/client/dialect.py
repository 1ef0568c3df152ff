"""The public JSON as a caller sees it: requests rendered outward, answers parsed inward. Pure functions.

Written against the Gemini API's published reference (`google.ai.generativelanguage.v1beta`), independently of the
server's own `wire` room, so that the two check each other. Fields left at their default are absent from answers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tuningfork.client.errors import TextWithheld
from tuningfork.domain.errors import FieldViolation
from tuningfork.domain.generation import RequestedSampling
from tuningfork.domain.tuned_model import Changeable, ModelChange
from tuningfork.domain.tuning_job import Snapshot, TuningRequest

Json = Mapping[str, Any]

_CHANGEABLE = {
    Changeable.DISPLAY_NAME: "displayName",
    Changeable.DESCRIPTION: "description",
    Changeable.TEMPERATURE: "temperature",
    Changeable.TOP_P: "topP",
    Changeable.TOP_K: "topK",
    Changeable.READER_PROJECT_NUMBERS: "readerProjectNumbers",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A tuning run as its operation shows it. `error` is None unless the run ended without success."""

    name: str
    tuned_model: str
    total_steps: int
    snapshots: tuple[Snapshot, ...]
    done: bool
    error: str | None

    @property
    def completed_steps(self) -> int:
        """Optimizer steps taken so far."""
        return self.snapshots[-1].step if self.snapshots else 0

    @property
    def losses(self) -> tuple[float, ...]:
        """The mean loss of every step so far, in nats per trained token."""
        return tuple(snapshot.mean_loss for snapshot in self.snapshots)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseModelEntry:
    """One line of `models.list`."""

    name: str
    display_name: str
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedModelEntry:
    """One line of `tunedModels.list`."""

    name: str
    display_name: str
    base_model: str
    state: str
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A token for `Authorization: Bearer`, and until when it is good."""

    value: str = field(repr=False)
    expire_time: datetime
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The body of an error answer (google.rpc.Status in its HTTP form)."""

    message: str
    status: str
    reason: str
    violations: tuple[FieldViolation, ...]


def render_creation(request: TuningRequest) -> dict[str, Any]:
    """The body of `tunedModels.create`; what the caller left open is left out, so that the service decides."""
    hyperparameters = _present(
        epochCount=request.hyperparameters.epoch_count,
        batchSize=request.hyperparameters.batch_size,
        learningRate=request.hyperparameters.learning_rate,
        learningRateMultiplier=request.hyperparameters.learning_rate_multiplier,
    )
    examples = [{"textInput": example.text_input, "output": example.output} for example in request.examples]
    source = request.tuned_model_source
    return {
        **({"tunedModelSource": {"tunedModel": source}} if source else {"baseModel": request.base_model}),
        **_present(
            displayName=request.display_name or None,
            description=request.description or None,
            temperature=request.temperature,
            topP=request.top_p,
            topK=request.top_k,
        ),
        "tuningTask": {"hyperparameters": hyperparameters, "trainingData": {"examples": {"examples": examples}}},
    }


def render_change(change: ModelChange) -> tuple[dict[str, Any], str]:
    """The body and the mask of `tunedModels.patch`. What is to be cleared is in the mask only."""
    values = {
        "displayName": change.display_name or None,
        "description": change.description or None,
        "temperature": change.temperature,
        "topP": change.top_p,
        "topK": change.top_k,
        "readerProjectNumbers": [str(number) for number in change.reader_project_numbers] or None,
    }
    names = [_CHANGEABLE[field] for field in Changeable if field in change.fields]
    return _present(**{name: values[name] for name in names}), ",".join(names)


def render_question(prompt: str, sampling: RequestedSampling) -> dict[str, Any]:
    """The body of `generateContent` for one user turn."""
    config = _present(
        temperature=sampling.temperature,
        topP=sampling.top_p,
        topK=sampling.top_k,
        maxOutputTokens=sampling.max_output_tokens,
        stopSequences=list(sampling.stop_sequences) or None,
        seed=sampling.seed,
    )
    return {"contents": [{"role": "user", "parts": [{"text": prompt}]}], "generationConfig": config}


def parse_operation(answer: Json) -> Operation:
    """An Operation whose metadata is a CreateTunedModelMetadata."""
    metadata = answer["metadata"]
    error = answer.get("error")
    return Operation(
        name=answer["name"],
        tuned_model=metadata["tunedModel"],
        total_steps=metadata.get("totalSteps", 0),
        snapshots=tuple(_parse_snapshot(snapshot) for snapshot in metadata.get("snapshots", ())),
        done=answer.get("done", False),
        error=None if error is None else error.get("message", "no reason was given"),
    )


def parse_base_model(answer: Json) -> BaseModelEntry:
    """A Model."""
    return BaseModelEntry(
        name=answer["name"],
        display_name=answer.get("displayName", ""),
        input_tokens=answer.get("inputTokenLimit", 0),
        output_tokens=answer.get("outputTokenLimit", 0),
    )


def parse_tuned_model(answer: Json) -> TunedModelEntry:
    """A TunedModel."""
    return TunedModelEntry(
        name=answer["name"],
        display_name=answer.get("displayName", ""),
        base_model=answer.get("baseModel") or answer.get("tunedModelSource", {}).get("baseModel", ""),
        state=answer.get("state", "STATE_UNSPECIFIED"),
        create_time=datetime.fromisoformat(answer["createTime"]),
    )


def parse_access_token(answer: Json) -> AccessToken:
    """The answer to a request for an access token."""
    return AccessToken(
        value=answer["accessToken"],
        expire_time=datetime.fromisoformat(answer["expireTime"]),
        scopes=tuple(answer["scopes"]),
    )


def parse_text(answer: Json) -> str:
    """The text of the first candidate of a GenerateContentResponse, or of one chunk of a stream.

    Raises:
        TextWithheld: there is none, because the prompt or the text was rated harmful.

    """
    feedback = answer.get("promptFeedback", {})
    if "blockReason" in feedback:
        raise _withheld("prompt", feedback)
    candidate = answer["candidates"][0]
    if candidate.get("finishReason") == "SAFETY":
        raise _withheld("answer", candidate)
    return "".join(part.get("text", "") for part in candidate.get("content", {}).get("parts", ()))


def _withheld(what: str, rated: Json) -> TextWithheld:
    reasons = [
        f"{rating['category'].removeprefix('HARM_CATEGORY_').lower().replace('_', ' ')} ({rating['probability']})"
        for rating in rated.get("safetyRatings", ())
        if rating.get("blocked")
    ]
    return TextWithheld(
        f"The server withholds the {what}, which it rates as harmful: {', '.join(reasons) or 'it does not say how'}.",
        advice="Word the prompt differently, or ask whoever runs the server about its --safety setting.",
    )


def parse_refusal(answer: Json) -> Refusal:
    """An error body: `{"error": {"code", "message", "status", "details"}}`."""
    error = answer["error"]
    details = error.get("details", ())
    return Refusal(
        message=error["message"].strip(),
        status=error.get("status", "UNKNOWN"),
        reason=next((detail["reason"] for detail in details if "reason" in detail), ""),
        violations=tuple(
            FieldViolation(field=violation.get("field", ""), description=violation.get("description", ""))
            for detail in details
            for violation in detail.get("fieldViolations", ())
        ),
    )


def _parse_snapshot(answer: Json) -> Snapshot:
    return Snapshot(
        step=answer["step"],
        epoch=answer.get("epoch", 0),
        mean_loss=float(answer.get("meanLoss", 0.0)),
        compute_time=datetime.fromisoformat(answer["computeTime"]),
    )


def _present(**values: object) -> dict[str, Any]:
    return {name: _sendable(value) for name, value in values.items() if value is not None}


def _sendable(value: object) -> object:
    """JSON has no NaN and no infinity; proto3's JSON mapping writes their names."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
