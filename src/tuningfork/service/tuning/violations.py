"""Finds everything that is wrong with a request, at once, with the request's field paths."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from tuningfork.domain import hyperparameters
from tuningfork.domain.base_model import MAX_ADAPTER_RANK, BaseModel, Limits, PublicModel
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.dataset import ExampleCheck
from tuningfork.domain.early_stopping import MAX_EVALUATIONS, MAX_LEAST_IMPROVEMENT, MAX_PATIENCE
from tuningfork.domain.errors import FieldViolation, Reason
from tuningfork.domain.generation import (
    MAX_CANDIDATES,
    MAX_LOGPROBS,
    MAX_PENALTY,
    MAX_STOP_SEQUENCES,
    RequestedSampling,
)
from tuningfork.domain.held_out import LEAST_PERCENT, MOST_PERCENT
from tuningfork.domain.hyperparameters import MAX_LEARNING_RATE, MAX_STEPS
from tuningfork.domain.probe_prompts import violations_of_probes
from tuningfork.domain.references import UnreadableName
from tuningfork.domain.text import refusal_of
from tuningfork.domain.tuned_model import (
    MAX_DESCRIPTION_CHARACTERS,
    MAX_DISPLAY_NAME_CHARACTERS,
    MAX_READER_PROJECTS,
    ModelChange,
    violations_of_chosen_id,
)
from tuningfork.domain.tuning_job import TuningRequest

MAX_TOKENIZED_CHARACTERS = 300_000
"""Each token of a text that is told one by one takes some hundred bytes."""
MAX_TUNED_TEMPERATURE = 1.0
"""The largest default temperature of a tuned model, which is lower than that of a request."""


@dataclass(frozen=True, slots=True)
class DataChecks:
    """Checks the examples of a request and of its validation set. `validation` None: the request has none."""

    examples: ExampleCheck
    validation: ExampleCheck | None

    @classmethod
    def of(cls, request: TuningRequest, model: PublicModel | None, *, has_validation: bool) -> Self:
        """New checks, before the first example. `model` None: examples have no limits."""
        limits, objective = model.limits if model else Limits(), request.hyperparameters.objective
        validation = ExampleCheck(limits, "validation", objective) if has_validation else None
        return cls(ExampleCheck(limits, "examples", objective), validation)

    def violations(self) -> tuple[FieldViolation, ...]:
        """Everything that is wrong with the examples so far, those of the validation set last."""
        return self.examples.violations() + (self.validation.violations() if self.validation else ())


def of_tuning(request: TuningRequest, model: PublicModel | None) -> tuple[FieldViolation, ...]:
    """Everything wrong with a request to tune. `model` None: checks that need the model's limits are left out."""
    checks = DataChecks.of(request, model, has_validation=request.validation is not None)
    for check, examples in ((checks.examples, request.examples), (checks.validation, request.validation)):
        if check is not None:
            for example in examples or ():
                check.add(example)
    return of_streamed(request, model, checks)


def before_streaming(
    request: TuningRequest, model: PublicModel | None, *, has_validation: bool
) -> tuple[FieldViolation, ...]:
    """Everything wrong with a request whose examples are streamed and have not arrived yet."""
    found = _of_tuning(request, model, None, has_validation=has_validation)
    if request.held_out_percent is None:
        return found
    described = "no share can be held out of examples that are streamed: give a validation set"
    return (*found, FieldViolation(field="held_out_percent", description=described, reason=Reason.EXCLUDED))


def of_streamed(request: TuningRequest, model: PublicModel | None, checks: DataChecks) -> tuple[FieldViolation, ...]:
    """Everything wrong with a request whose streamed examples have been checked by `checks`."""
    return _of_tuning(request, model, checks, has_validation=checks.validation is not None)


def _of_tuning(
    request: TuningRequest, model: PublicModel | None, checks: DataChecks | None, *, has_validation: bool
) -> tuple[FieldViolation, ...]:
    found = [*_of_names(request), *_of_owners_choices(request), *(checks.violations() if checks else ())]
    of_values = hyperparameters.violations_of(request.hyperparameters, "hyperparameters")
    found += of_values
    found += _of_rank(request, model)
    found += _of_schedules(request)
    found += _of_validation(request, has_validation=has_validation or request.held_out_percent is not None)
    found += violations_of_probes(request.probe_prompts)
    if model and checks and checks.examples.count and not of_values:
        found += _of_resolved(request, model.base, checks.examples.count)
    return tuple(found)


def of_import(request: TuningRequest) -> tuple[FieldViolation, ...]:
    """Everything wrong with a request for a model whose adapter was trained elsewhere."""
    return (*_of_names(request), *_of_owners_choices(request))


def of_change(
    change: ModelChange, *, most_name_characters: int = MAX_DISPLAY_NAME_CHARACTERS
) -> tuple[FieldViolation, ...]:
    """Everything wrong with a change of a tuned model, whose display name may have so many characters."""
    return tuple(_of_owners_choices(change, most_name_characters))


def of_prompt(prompt: Conversation, limits: Limits) -> Iterator[FieldViolation]:
    """Everything wrong with a prompt, except its length in tokens, which is checked later."""
    texts = [turn.text for turn in prompt.turns]
    if prompt.system_instruction is not None:
        texts.append(prompt.system_instruction)
    characters = sum(map(len, texts))
    most = limits.max_input_characters
    if not prompt.turns:
        yield FieldViolation(field="prompt", description="the prompt has no turns", reason=Reason.MISSING)
    if most is not None and characters > most:
        said = f"the input must be at most {most} characters; it has {characters}"
        yield FieldViolation(field="prompt", description=said, reason=Reason.TOO_LONG)
    for text in texts:
        if refusal := refusal_of(text):
            yield FieldViolation(field="prompt", description=f"the input {refusal}", reason=Reason.MALFORMED)


def of_tokenized(texts: Sequence[str]) -> Iterator[FieldViolation]:
    """Everything wrong with texts whose tokens are to be told one by one."""
    characters = sum(map(len, texts))
    if characters > MAX_TOKENIZED_CHARACTERS:
        said = f"the texts must be at most {MAX_TOKENIZED_CHARACTERS} characters together; they have {characters}"
        yield FieldViolation(field="prompt", description=said, reason=Reason.TOO_LONG)


def of_sampling(sampling: RequestedSampling, max_temperature: float) -> Iterator[FieldViolation]:
    """Everything wrong with the sampling values of a request."""
    yield from _of_draw(sampling.temperature, max_temperature, sampling.top_p, sampling.top_k, "sampling.")
    if sampling.max_output_tokens is not None and sampling.max_output_tokens < 1:
        yield _violation("sampling.max_output_tokens", "at least 1", sampling.max_output_tokens)
    candidates = sampling.candidate_count
    if candidates is not None and not 1 <= candidates <= MAX_CANDIDATES:
        yield _violation("sampling.candidate_count", f"a whole number from 1 to {MAX_CANDIDATES}", candidates)
    if len(sampling.stop_sequences) > MAX_STOP_SEQUENCES:
        wanted = f"at most {MAX_STOP_SEQUENCES} sequences"
        yield _violation("sampling.stop_sequences", wanted, len(sampling.stop_sequences), Reason.TOO_LONG)
    for index, sequence in enumerate(sampling.stop_sequences):
        if not sequence:
            described = "a stop sequence must not be empty"
            at = f"sampling.stop_sequences[{index}]"
            yield FieldViolation(field=at, description=described, reason=Reason.MISSING)
    yield from _of_scores(sampling)


def _of_scores(sampling: RequestedSampling) -> Iterator[FieldViolation]:
    """Everything wrong with the penalties and log probabilities in a request."""
    for name, penalty in (
        ("presence_penalty", sampling.presence_penalty),
        ("frequency_penalty", sampling.frequency_penalty),
    ):
        if penalty is not None and not -MAX_PENALTY <= penalty <= MAX_PENALTY:
            yield _violation(f"sampling.{name}", f"a number from {-MAX_PENALTY:g} to {MAX_PENALTY:g}", penalty)
    if sampling.logprobs is None:
        return
    if not 0 <= sampling.logprobs <= MAX_LOGPROBS:
        yield _violation("sampling.logprobs", f"a whole number from 0 to {MAX_LOGPROBS}", sampling.logprobs)
    elif sampling.logprobs and not sampling.response_logprobs:
        described = "logprobs can only be set when response_logprobs is true"
        yield FieldViolation(field="sampling.logprobs", description=described, reason=Reason.EXCLUDED)


def of_source(source: UnreadableName) -> Iterator[FieldViolation]:
    """The violation for a source whose name is not of the form of any tuned model's name."""
    described = "tuned_model must be the name of a tuned model"
    given = repr(source.text[:80])
    yield FieldViolation(field="tuned_model_source", description=described, given=given, reason=Reason.MALFORMED)


def _of_names(request: TuningRequest) -> Iterator[FieldViolation]:
    if not request.base_model and request.source is None:
        yield FieldViolation(field="base_model", description="base_model is required", reason=Reason.MISSING)
    if request.base_model and request.source is not None:
        described = "tuned_model_source and base_model exclude each other; give one of them"
        yield FieldViolation(field="tuned_model_source", description=described, reason=Reason.EXCLUDED)
    if isinstance(request.source, UnreadableName):
        yield from of_source(request.source)
    if request.tuned_model_id is not None:
        yield from violations_of_chosen_id(request.tuned_model_id, "tuned_model_id")


def _of_owners_choices(
    chosen: TuningRequest | ModelChange, most_name_characters: int = MAX_DISPLAY_NAME_CHARACTERS
) -> Iterator[FieldViolation]:
    """Everything wrong with the fields that the owner sets when creating a model and may change later."""
    for name, text, most in (
        ("display_name", chosen.display_name, most_name_characters),
        ("description", chosen.description, MAX_DESCRIPTION_CHARACTERS),
    ):
        if len(text) > most:
            described = f"{name} must be at most {most} characters; it has {len(text)}"
            yield FieldViolation(field=name, description=described, reason=Reason.TOO_LONG)
        if "\0" in text:
            described = f"{name} must not contain the character U+0000"
            yield FieldViolation(field=name, description=described, reason=Reason.MALFORMED)
        if refusal := refusal_of(text):
            yield FieldViolation(field=name, description=f"{name} {refusal}", reason=Reason.MALFORMED)
    yield from _of_draw(chosen.temperature, MAX_TUNED_TEMPERATURE, chosen.top_p, chosen.top_k, "")
    yield from _of_projects(chosen.reader_project_numbers)


def _of_projects(numbers: tuple[int, ...]) -> Iterator[FieldViolation]:
    if len(numbers) > MAX_READER_PROJECTS:
        wanted = f"reader_project_numbers must be at most {MAX_READER_PROJECTS} numbers; {len(numbers)} were given"
        yield FieldViolation(field="reader_project_numbers", description=wanted, reason=Reason.TOO_LONG)
        return
    for index, number in enumerate(numbers):
        if not 1 <= number < 2**63:
            described = f"a project number must be from 1 to {2**63 - 1}; {number} was given"
            at = f"reader_project_numbers[{index}]"
            yield FieldViolation(field=at, description=described, reason=Reason.OUT_OF_RANGE)


def _of_draw(
    temperature: float | None, max_temperature: float, top_p: float | None, top_k: int | None, prefix: str
) -> Iterator[FieldViolation]:
    if temperature is not None and not 0 <= temperature <= max_temperature:
        yield _violation(f"{prefix}temperature", f"a number from 0 to {max_temperature:g}", temperature)
    if top_p is not None and not 0 < top_p <= 1:
        yield _violation(f"{prefix}top_p", "a number above 0 and at most 1", top_p)
    if top_k is not None and top_k < 0:
        yield _violation(f"{prefix}top_k", "at least 1, or 0 for no limit", top_k)


def _of_rank(request: TuningRequest, model: PublicModel | None) -> Iterator[FieldViolation]:
    """Faults of the rank of the new adapter. `model` None: the base has no bound of its own."""
    rank, most = request.adapter_rank, model.base.max_adapter_rank if model else MAX_ADAPTER_RANK
    allowed = model.limits.adapter_ranks if model else None
    if rank is None:
        return
    if not 1 <= rank <= most:
        yield _violation("adapter_rank", f"a whole number from 1 to {most}", rank)
    elif model and allowed and request.source is None and rank not in allowed:
        sizes = ", ".join(str(each) for each in allowed if each <= most)
        yield _violation("adapter_rank", f"one of {sizes}, the adapter sizes of {model.name}", rank)
    elif request.source is not None:
        described = (
            f"adapter_rank is {rank}, and a model that is tuned further keeps the rank that it has: leave adapter_rank "
            "out, or tune a base model"
        )
        yield FieldViolation(field="adapter_rank", description=described, reason=Reason.EXCLUDED)


def _of_schedules(request: TuningRequest) -> Iterator[FieldViolation]:
    """Faults of the numbers of steps and epochs between checkpoints and between evaluations."""
    for field, every in (
        ("checkpoints.steps_every", request.checkpoints.steps_every),
        ("checkpoints.epochs_every", request.checkpoints.epochs_every),
        ("evaluate_every", request.evaluate_every or 0),
    ):
        if every < 0:
            yield _violation(field, "at least 0", every)


def _of_validation(request: TuningRequest, *, has_validation: bool) -> Iterator[FieldViolation]:
    """Faults of what a job does with its validation set, and of the share of the examples that becomes one."""
    share, stopping = request.held_out_percent, request.early_stopping
    if share is not None:
        yield from _of_share(request, share)
    if stopping is not None and not 1 <= stopping.patience <= MAX_PATIENCE:
        yield _violation("early_stopping.patience", f"a whole number from 1 to {MAX_PATIENCE}", stopping.patience)
    if stopping is not None and not 0 <= stopping.least_improvement <= MAX_LEAST_IMPROVEMENT:
        wanted = f"a number from 0 to {MAX_LEAST_IMPROVEMENT:g}, in nats"
        yield _violation("early_stopping.least_improvement", wanted, stopping.least_improvement)
    if has_validation:
        return
    if (request.evaluate_every or 0) > 0:
        described = (
            f"evaluate_every is {request.evaluate_every}, and there is no validation set: "
            "give one, or leave evaluate_every at 0"
        )
        yield FieldViolation(field="evaluate_every", description=described, reason=Reason.EXCLUDED)
    for field, is_asked in (("keep_best", request.keep_best), ("early_stopping", stopping is not None)):
        if is_asked:
            described = f"{field} goes by the validation loss, and there is no validation set: give one"
            yield FieldViolation(field=field, description=described, reason=Reason.EXCLUDED)


def _of_share(request: TuningRequest, share: float) -> Iterator[FieldViolation]:
    """Faults of the share of the examples that is to be held out."""
    if not LEAST_PERCENT <= share <= MOST_PERCENT:
        yield _violation("held_out_percent", f"a number from {LEAST_PERCENT:g} to {MOST_PERCENT:g}", share)
    if request.validation is not None:
        described = "held_out_percent and a validation set exclude each other; give one of them"
        yield FieldViolation(field="held_out_percent", description=described, reason=Reason.EXCLUDED)
    elif request.examples and all(each == request.examples[0] for each in request.examples):
        described = "none can be held out, since there are no two different examples"
        yield FieldViolation(field="examples", description=described, reason=Reason.OUT_OF_RANGE)


def _of_resolved(request: TuningRequest, base: BaseModel, count: int) -> Iterator[FieldViolation]:
    """Faults found after defaults are filled in: too many steps, or too high a learning rate after its multiplier."""
    used = hyperparameters.resolve(request.hyperparameters, count, base.default_learning_rate)
    steps = used.total_steps(count)
    if steps > MAX_STEPS:
        described = (
            f"{count} examples, {used.epoch_count} epochs and batches of {used.batch_size} make {steps} steps; "
            f"at most {MAX_STEPS} are allowed, so lower epoch_count or raise batch_size"
        )
        yield FieldViolation(field="hyperparameters", description=described, reason=Reason.OUT_OF_RANGE)
    if request.evaluate_every and steps // request.evaluate_every > MAX_EVALUATIONS:
        described = (
            f"{steps} steps and an evaluation every {request.evaluate_every} make {steps // request.evaluate_every} "
            f"evaluations; at most {MAX_EVALUATIONS} are allowed, so raise evaluate_every"
        )
        yield FieldViolation(field="evaluate_every", description=described, reason=Reason.OUT_OF_RANGE)
    if used.learning_rate > MAX_LEARNING_RATE:
        described = f"learning_rate_multiplier leads to a rate of {used.learning_rate:g}; at most {MAX_LEARNING_RATE:g}"
        at = "hyperparameters.learning_rate_multiplier"
        yield FieldViolation(field=at, description=described, reason=Reason.OUT_OF_RANGE)


def _violation(field: str, wanted: str, given: float, reason: Reason = Reason.OUT_OF_RANGE) -> FieldViolation:
    name = field.rpartition(".")[2]
    return FieldViolation(field=field, description=f"{name} must be {wanted}; {given} was given", reason=reason)
