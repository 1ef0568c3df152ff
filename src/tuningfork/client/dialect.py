"""The public JSON as a caller sees it: requests rendered outward, answers parsed inward. Pure functions.

Written against the Gemini API's published reference (`google.ai.generativelanguage.v1beta`), independently of the
server's own `wire` room, so that the two check each other. Fields left at their default are absent from answers.
"""

import math
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tuningfork.client import answer_fields as fields
from tuningfork.client.answer_fields import Json
from tuningfork.client.errors import TextWithheld
from tuningfork.client.results import RunResults
from tuningfork.domain.conversation import Conversation, Example
from tuningfork.domain.dataset import Examples
from tuningfork.domain.errors import FieldViolation
from tuningfork.domain.generation import RequestedSampling
from tuningfork.domain.references import CheckpointRef, TunedRef, UnreadableName
from tuningfork.domain.tuned_model import Changeable, ModelChange
from tuningfork.domain.tuning_job import Snapshot, TuningRequest

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
    """A tuning run as its operation shows it; a list shows it without its steps.

    `error` is None unless the run ended without success.
    """

    name: str
    tuned_model: str
    total_steps: int
    snapshots: tuple[Snapshot, ...]
    done: bool
    error: str | None
    told_steps: int = 0
    """Steps taken so far, as an answer without the steps themselves tells it."""
    waits_for: str = ""
    """What it waits for in words, before its first step; "": nothing is known."""
    example_count: int = 0
    validation_count: int = 0
    """The examples that it learns from, and those of its validation set, as the server's own method of creating tells
    them; 0: the answer does not."""
    results: RunResults | None = None
    """What its validation set has shown so far; None: nobody has asked the server."""
    answer: Json = field(default_factory=dict, repr=False, compare=False)
    """The JSON that it was read from."""

    @property
    def completed_steps(self) -> int:
        """Optimizer steps taken so far."""
        return self.snapshots[-1].step if self.snapshots else self.told_steps

    @property
    def is_import(self) -> bool:
        """Whether its adapter was trained elsewhere, so that it is done without a step.

        Nobody knows yet, or ever knew, how many steps another run without any takes: its examples are still to be read.
        """
        return self.done and self.error is None and not self.total_steps

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
    answer: Json = field(default_factory=dict, repr=False, compare=False)
    """The JSON that it was read from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedModelEntry:
    """One line of `tunedModels.list`."""

    name: str
    display_name: str
    base_model: str
    state: str
    create_time: datetime
    temperature: float | None = None
    """The temperature of requests that give none; None: the server does not tell it."""
    answer: Json = field(default_factory=dict, repr=False, compare=False)
    """The JSON that it was read from."""


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
    name = _source_name(request)
    validation = _rendered_validation(request)
    examples = {"examples": _rendered_examples(request.examples)}
    task: dict[str, Any] = {"hyperparameters": hyperparameters, "trainingData": examples}
    task |= {"probePrompts": list(request.probe_prompts)} if request.probe_prompts else {}
    return {
        **({"tunedModelSource": {"tunedModel": name}} if name else {"baseModel": request.base_model}),
        **_present(
            displayName=request.display_name or None,
            description=request.description or None,
            temperature=request.temperature,
            topP=request.top_p,
            topK=request.top_k,
        ),
        "tuningTask": {**task, "validation": validation} if validation else task,
    }


def creation_query(request: TuningRequest) -> dict[str, str]:
    """The parameters of creating: the chosen id, and the rank, which only the server's own method takes."""
    named = {"tunedModelId": request.tuned_model_id, "adapterRank": request.adapter_rank}
    return {name: str(value) for name, value in named.items() if value is not None}


def creation_path(request: TuningRequest) -> str:
    """The path of creating.

    Pairs are sent to `v1beta` like every client's; conversations to `v1alpha`, which alone has a message for them. The
    server's own method takes both, a rank, a validation set and probe prompts.
    """
    if request.adapter_rank is not None or has_validation(request) or request.probe_prompts:
        return "/tuningfork/v1/tunedModels"
    return "/v1alpha/tunedModels" if needs_conversations(request.examples) else "/v1beta/tunedModels"


def has_validation(request: TuningRequest) -> bool:
    """Whether a request has a validation set, or asks for what needs one."""
    has_set = request.validation is not None or request.held_out_percent is not None
    return has_set or request.keep_best or request.early_stopping is not None or bool(request.evaluate_every)


def needs_conversations(examples: Examples) -> bool:
    """Whether an example is more than one input and one output, which only `v1alpha` has a message for."""
    return any(_pair(example) is None for example in examples)


def _source_name(request: TuningRequest) -> str | None:
    match request.source:
        case None:
            return None
        case TunedRef(id):
            return f"tunedModels/{id}"
        case UnreadableName(text):
            return text
        case CheckpointRef():
            raise ValueError("the Gemini API tunes on a model's default checkpoint; another checkpoint was given")


def _rendered_examples(examples: Examples) -> dict[str, Any]:
    """TuningExamples. Where one example needs to be a conversation all are, so that they keep their order."""
    if needs_conversations(examples):
        return {"multiturnExamples": [_rendered_conversation(example) for example in examples]}
    pairs = [pair for example in examples if (pair := _pair(example)) is not None]
    return {"examples": [{"textInput": text_input, "output": output} for text_input, output in pairs]}


def _rendered_validation(request: TuningRequest) -> dict[str, Any]:
    """tuningfork.v1.Validation; empty if the request has no validation set and asks for nothing that needs one."""
    stopping = request.early_stopping
    return _present(
        examples=None if request.validation is None else _rendered_examples(request.validation),
        heldOutPercent=request.held_out_percent,
        evaluateEvery=request.evaluate_every or None,
        keepBest=request.keep_best or None,
        earlyStopping=stopping
        and {"patience": stopping.patience, "leastImprovement": _sendable(stopping.least_improvement)},
    )


def _pair(example: Example) -> tuple[str, str] | None:
    return example.as_pair() if isinstance(example, Conversation) else None


def _rendered_conversation(example: Example) -> dict[str, Any]:
    if not isinstance(example, Conversation) or any(turn.weight != 1 for turn in example.turns):
        raise ValueError("the Gemini API's tuning learns every answer of a conversation; something else was given")
    system = example.system_instruction
    return {
        **({} if system is None else {"systemInstruction": {"parts": [{"text": system}]}}),
        "contents": [
            {"role": turn.speaker.value, "parts": [{"text": part} for part in turn.parts]} for turn in example.turns
        ],
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
    metadata = fields.inner(answer, "metadata")
    error = fields.inner(answer, "error") if "error" in answer else None
    return Operation(
        name=fields.name(answer, "name"),
        tuned_model=fields.name(metadata, "tunedModel"),
        total_steps=fields.whole(metadata, "totalSteps", 0),
        snapshots=tuple(map(_parse_snapshot, fields.objects(metadata, "snapshots"))),
        done=fields.flag(answer, "done"),
        error=None if error is None else fields.text(error, "message", "no reason was given"),
        told_steps=fields.whole(metadata, "completedSteps", 0),
        example_count=fields.count(metadata, "exampleCount"),
        validation_count=fields.count(metadata, "validationExampleCount"),
        answer=answer,
    )


def parse_base_model(answer: Json) -> BaseModelEntry:
    """A Model."""
    return BaseModelEntry(
        name=fields.name(answer, "name"),
        display_name=fields.text(answer, "displayName", ""),
        input_tokens=fields.whole(answer, "inputTokenLimit", 0),
        output_tokens=fields.whole(answer, "outputTokenLimit", 0),
        answer=answer,
    )


def parse_tuned_model(answer: Json) -> TunedModelEntry:
    """A TunedModel."""
    source = fields.inner(answer, "tunedModelSource")
    return TunedModelEntry(
        name=fields.name(answer, "name"),
        display_name=fields.text(answer, "displayName", ""),
        base_model=fields.name(answer, "baseModel", "") or fields.name(source, "baseModel", ""),
        state=fields.name(answer, "state", "STATE_UNSPECIFIED"),
        create_time=fields.time(answer, "createTime"),
        temperature=fields.number(answer, "temperature") if "temperature" in answer else None,
        answer=answer,
    )


def parse_access_token(answer: Json) -> AccessToken:
    """The answer to a request for an access token."""
    scopes = answer["scopes"]
    if not isinstance(scopes, list):
        raise TypeError("scopes is no list")
    return AccessToken(
        value=fields.token(answer, "accessToken"),
        expire_time=fields.time(answer, "expireTime"),
        scopes=tuple(fields.name({"scope": scope}, "scope") for scope in scopes),
    )


def parse_text(answer: Json) -> str:
    """The text of the first candidate of a GenerateContentResponse, or of one chunk of a stream.

    Raises:
        TextWithheld: there is none, because the prompt or the text was rated harmful.

    """
    feedback = fields.inner(answer, "promptFeedback")
    if "blockReason" in feedback:
        raise _withheld("prompt", feedback)
    candidate = fields.objects(answer, "candidates")[0]
    if candidate.get("finishReason") == "SAFETY":
        raise _withheld("answer", candidate)
    return "".join(
        fields.text(part, "text", "") for part in fields.objects(fields.inner(candidate, "content"), "parts")
    )


def checked_answer(answer: Json) -> Json:
    """A GenerateContentResponse, whose text `parse_text` can read, or says that it is withheld."""
    with suppress(TextWithheld):
        parse_text(answer)
    return answer


def _withheld(what: str, rated: Json) -> TextWithheld:
    reasons = [
        f"{fields.name(rating, 'category').removeprefix('HARM_CATEGORY_').lower().replace('_', ' ')} "
        f"({fields.name(rating, 'probability')})"
        for rating in fields.objects(rated, "safetyRatings")
        if rating.get("blocked")
    ]
    return TextWithheld(
        f"The server withholds the {what}, which it rates as harmful: {', '.join(reasons) or 'it does not say how'}.",
        advice="Word the prompt differently, or ask whoever runs the server about its --safety setting.",
    )


def parse_refusal(answer: Json) -> Refusal:
    """An error body: `{"error": {"code", "message", "status", "details"}}`."""
    error = answer["error"]
    details = fields.objects(error, "details")
    return Refusal(
        message=fields.text(error, "message").strip(),
        status=fields.name(error, "status", "UNKNOWN"),
        reason=next((fields.text(detail, "reason") for detail in details if "reason" in detail), ""),
        violations=tuple(
            FieldViolation(
                field=fields.text(violation, "field", ""), description=fields.text(violation, "description", "")
            )
            for detail in details
            for violation in fields.objects(detail, "fieldViolations")
        ),
    )


def advice_on(refusal: Refusal) -> str:
    """What to do about a refusal; "": its message says it."""
    if refusal.reason == "API_KEY_INVALID":
        return "Make a key with `tuningfork keys create` and pass it as --api-key or TUNINGFORK_API_KEY."
    if "unregistered callers" in refusal.message:
        return "Pass a key as --api-key or TUNINGFORK_API_KEY; `tuningfork keys create` makes one."
    return ""


def _parse_snapshot(answer: Json) -> Snapshot:
    return Snapshot(
        step=fields.whole(answer, "step"),
        epoch=fields.whole(answer, "epoch", 0),
        mean_loss=fields.number(answer, "meanLoss", 0.0),
        compute_time=fields.time(answer, "computeTime"),
    )


def _present(**values: object) -> dict[str, Any]:
    return {name: _sendable(value) for name, value in values.items() if value is not None}


def _sendable(value: object) -> object:
    """JSON has no NaN and no infinity; proto3's JSON mapping writes their names."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
