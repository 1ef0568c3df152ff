"""Evaluation runs: up to four models answer the same held-out examples, and their answers are scored.

A run has its own copy of the examples, so that it goes on, and can be looked at, whatever becomes of the data. It
belongs to whoever began it and to nobody else.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NewType

from tuningfork.domain.answer_scores import Measure
from tuningfork.domain.conversation import Conversation, Speaker
from tuningfork.domain.errors import FieldViolation, NotFound, Reason
from tuningfork.domain.permission import Email
from tuningfork.domain.references import BaseRef, CheckpointRef, ModelRef, TunedRef
from tuningfork.domain.score_intervals import ScoreSummary
from tuningfork.domain.staged_dataset import StagedDatasetId
from tuningfork.domain.text import refusal_of
from tuningfork.domain.tuned_model import TunedModelId

EvaluationRunId = NewType("EvaluationRunId", str)
"""Twelve characters of [a-z0-9]."""

MAX_MODELS = 4
USUAL_EXAMPLES = 1_000
MAX_EXAMPLES = 2_000
MAX_CHARACTERS = 8_000_000
"""The most characters that the examples of one run have together."""
MAX_ANSWER_CHARACTERS = 20_000
"""Of a longer answer only its begin is kept. It is scored as a whole."""
MAX_NAME_CHARACTERS = 200
MAX_RUNS = 100
"""How many runs a person keeps."""
MAX_UNFINISHED = 5
"""How many of them wait or run at a time."""


class EvaluationNotFound(NotFound):
    """There is no such evaluation run, or it is somebody else's."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"There is no evaluation evaluations/{run_id[:80]}, or it is not yours.")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.run_id,)


class RunState(StrEnum):
    """What a run is doing."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"
    """Its owner stopped it. What was answered before is kept."""

    @property
    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self not in (RunState.QUEUED, RunState.RUNNING)


class LeakCheck(StrEnum):
    """Whether the training examples of a model were compared with the run's examples."""

    NOT_TUNED = "NOT_TUNED"
    """A base model: nobody here knows what it was trained on."""
    WAITING = "WAITING"
    DONE = "DONE"
    PARTIAL = "PARTIAL"
    """Only the first of many training examples were compared."""
    NOT_ALLOWED = "NOT_ALLOWED"
    """The owner of the run may ask the model and not change it, so they are told nothing about its data."""
    NOT_HERE = "NOT_HERE"
    """The training examples are not on the server that runs it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedModel:
    """A model of a run, and what is known of it besides its answers.

    `leaked` is how many of the run's examples have a question that the model was trained on.
    """

    ref: ModelRef
    display_name: str
    leak_check: LeakCheck = LeakCheck.WAITING
    leaked: int = 0

    @property
    def tuned_model(self) -> TunedModelId | None:
        """The tuned model, of which a checkpoint may be asked; None: it is a base model."""
        return tuned_model_of(self.ref)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSettings:
    """How answers are sampled. None: as the model's own default is."""

    temperature: float | None = 0.0
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """Where the examples are from: a staged dataset, or the examples that a tuned model's job kept back.

    Exactly one of `dataset` and `kept_back_by` is given. `display_name` is that of the dataset or the model;
    `row_count` is how many rows there were to take examples from.
    """

    dataset: StagedDatasetId | None = None
    kept_back_by: TunedModelId | None = None
    display_name: str = ""
    row_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRequest:
    """A request for a run. `measures` (): those that fit; `max_examples` None: `USUAL_EXAMPLES`."""

    models: tuple[ModelRef, ...]
    dataset: StagedDatasetId | None = None
    kept_back_by: TunedModelId | None = None
    measures: tuple[Measure, ...] = ()
    max_examples: int | None = None
    settings: AnswerSettings = AnswerSettings()
    display_name: str = ""
    request_id: str = ""
    """Of several requests of a person with the same id, one makes a run; "": each makes one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRow:
    """One example of a run: `number` is that of its row in the data, from 1 on; `prompt` ends with the user's turn.

    `leaked` has the indexes of the models that were trained on its question.
    """

    number: int
    prompt: Conversation
    expected: str
    leaked: frozenset[int] = frozenset()

    @property
    def question(self) -> str:
        """What the user said last."""
        return self.prompt.turns[-1].text


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnswer:
    """What a model, by its index, has answered to the example of this number.

    `problem` is why there is no answer, such as a prompt that is too long for the model; "": there is one. Such an
    answer scores 0 by every measure.
    """

    number: int
    model: int
    text: str
    scores: Mapping[Measure, float]
    stopped: bool = True
    output_tokens: int = 0
    problem: str = ""
    cut: bool = False
    """Whether `text` is only the begin of the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRun:
    """A run without its examples. Times are in UTC.

    `answered` is how many answers of each model there are. `summary` is computed now and then while the run goes on,
    over the examples that all models have answered. `error` says why it failed; "": it did not.
    """

    id: EvaluationRunId
    owner: Email
    project: str
    credential: str
    display_name: str
    state: RunState
    source: DataSource
    models: tuple[EvaluatedModel, ...]
    measures: tuple[Measure, ...]
    settings: AnswerSettings
    example_count: int
    create_time: datetime
    start_time: datetime | None = None
    update_time: datetime
    complete_time: datetime | None = None
    stop_requested: bool = False
    answered: tuple[int, ...] = ()
    summary: ScoreSummary | None = None
    error: str = ""

    @property
    def answers_left(self) -> int:
        """How many answers are still to come."""
        return self.example_count * len(self.models) - sum(self.answered)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredRow:
    """An example with the answers so far, by the indexes of the models."""

    row: EvaluationRow
    answers: Mapping[int, ModelAnswer] = field(default_factory=dict)


def tuned_model_of(ref: ModelRef) -> TunedModelId | None:
    """The tuned model that a reference names, by itself or with a checkpoint; None: it names a base model."""
    match ref:
        case TunedRef(model) | CheckpointRef(model, _):
            return model
        case BaseRef():
            return None


def held_out(conversation: Conversation) -> tuple[Conversation, str] | None:
    """What a model is asked of an example, and what it should answer: its last turn that is learned.

    None: the example has no such turn behind one of the user.
    """
    learned = (index for index, turn in enumerate(conversation.turns) if turn.is_learned)
    last = max(learned, default=0)
    before = conversation.turns[:last]
    if not before or before[-1].speaker is not Speaker.USER:
        return None
    prompt = Conversation(turns=before, system_instruction=conversation.system_instruction)
    return prompt, conversation.turns[last].text


def violations_of(request: EvaluationRequest) -> Iterator[FieldViolation]:
    """Everything that is wrong with a request, as far as it can be told without looking at models and data."""
    count = len(request.models)
    if not 1 <= count <= MAX_MODELS:
        described = f"models must have 1 to {MAX_MODELS} entries; {count} were given"
        yield FieldViolation(field="models", description=described, reason=Reason.OUT_OF_RANGE)
    elif len(set(request.models)) < count:
        described = "models must differ from each other; one is given twice"
        yield FieldViolation(field="models", description=described, reason=Reason.NOT_ALLOWED)
    if (request.dataset is None) == (request.kept_back_by is None):
        described = "give either dataset or kept_back_by: the examples are taken from exactly one of them"
        yield FieldViolation(field="dataset", description=described, reason=Reason.EXCLUDED)
    most = request.max_examples
    if most is not None and not 1 <= most <= MAX_EXAMPLES:
        described = f"max_examples must be from 1 to {MAX_EXAMPLES}; {most} was given"
        yield FieldViolation(field="max_examples", description=described, reason=Reason.OUT_OF_RANGE)
    if len(request.display_name) > MAX_NAME_CHARACTERS:
        described = (
            f"display_name must have at most {MAX_NAME_CHARACTERS} characters; it has {len(request.display_name)}"
        )
        yield FieldViolation(field="display_name", description=described, reason=Reason.TOO_LONG)
    if refusal := refusal_of(request.display_name):
        yield FieldViolation(field="display_name", description=f"display_name {refusal}", reason=Reason.MALFORMED)
    if len(set(request.measures)) < len(request.measures):
        described = "measures must differ from each other; one is given twice"
        yield FieldViolation(field="measures", description=described, reason=Reason.NOT_ALLOWED)
    yield from _violations_of_settings(request.settings)


def _violations_of_settings(settings: AnswerSettings) -> Iterator[FieldViolation]:
    if settings.temperature is not None and not 0 <= settings.temperature <= 2:
        described = f"temperature must be from 0 to 2; {settings.temperature:g} was given"
        yield FieldViolation(field="temperature", description=described, reason=Reason.OUT_OF_RANGE)
    if settings.max_output_tokens is not None and settings.max_output_tokens < 1:
        described = f"max_output_tokens must be at least 1; {settings.max_output_tokens} was given"
        yield FieldViolation(field="max_output_tokens", description=described, reason=Reason.OUT_OF_RANGE)


def fitting_measures(expected: Sequence[str], are_json: Sequence[bool]) -> tuple[Measure, ...]:
    """The measures of a run for which none were asked: all, and valid JSON only where every expected answer is.

    A number or a word in quotes is JSON too, so only objects and lists count here.
    """
    is_json = bool(expected) and all(
        good and text.lstrip()[:1] in "{[" for text, good in zip(expected, are_json, strict=True)
    )
    return tuple(each for each in Measure if is_json or each is not Measure.VALID_JSON)
