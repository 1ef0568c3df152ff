"""What can be wrong with a request, found all at once and named by the request's own fields."""

from collections.abc import Iterator

from tuningfork.domain import dataset, hyperparameters
from tuningfork.domain.base_model import BaseModel, Limits, PublicModel
from tuningfork.domain.errors import FieldViolation
from tuningfork.domain.generation import (
    MAX_CANDIDATES,
    MAX_LOGPROBS,
    MAX_PENALTY,
    MAX_STOP_SEQUENCES,
    Prompt,
    RequestedSampling,
)
from tuningfork.domain.hyperparameters import MAX_LEARNING_RATE, MAX_STEPS
from tuningfork.domain.text import refusal_of
from tuningfork.domain.tuned_model import (
    MAX_DESCRIPTION_CHARACTERS,
    MAX_DISPLAY_NAME_CHARACTERS,
    MAX_READER_PROJECTS,
    ModelChange,
    id_in_name,
    violations_of_chosen_id,
)
from tuningfork.domain.tuning_job import TuningRequest

MAX_TUNED_TEMPERATURE = 1.0
"""The bound of a tuned model's default temperature, lower than that of a request (gemini-api, TunedModel)."""


def of_tuning(request: TuningRequest, model: PublicModel | None) -> tuple[FieldViolation, ...]:
    """Everything wrong with a request to tune. Without a model, the checks that need its limits are left out."""
    found = [
        *_of_names(request),
        *_of_owners_choices(request),
        *dataset.violations_of(request.examples, model.limits if model else Limits(), "examples"),
    ]
    of_values = hyperparameters.violations_of(request.hyperparameters, "hyperparameters")
    found += of_values
    if model and request.examples and not of_values:
        found += _of_resolved(request, model.base)
    return tuple(found)


def of_change(change: ModelChange) -> tuple[FieldViolation, ...]:
    """Everything wrong with a wish to change a tuned model."""
    return tuple(_of_owners_choices(change))


def of_prompt(prompt: Prompt, limits: Limits) -> Iterator[FieldViolation]:
    """What is wrong with a prompt, apart from its length in tokens."""
    texts = [turn.text for turn in prompt.turns]
    if prompt.system_instruction is not None:
        texts.append(prompt.system_instruction)
    characters = sum(map(len, texts))
    most = limits.max_input_characters
    if not prompt.turns:
        yield FieldViolation(field="prompt", description="contents is not specified")
    if most is not None and characters > most:
        said = f"the input must be at most {most} characters; it has {characters}"
        yield FieldViolation(field="prompt", description=said)
    for text in texts:
        if refusal := refusal_of(text):
            yield FieldViolation(field="prompt", description=f"the input {refusal}")


def of_sampling(sampling: RequestedSampling, max_temperature: float) -> Iterator[FieldViolation]:
    """What is wrong with the sampling that a request asks for."""
    yield from _of_draw(sampling.temperature, max_temperature, sampling.top_p, sampling.top_k, "sampling.")
    if sampling.max_output_tokens is not None and sampling.max_output_tokens < 1:
        yield _violation("sampling.max_output_tokens", "at least 1", sampling.max_output_tokens)
    candidates = sampling.candidate_count
    if candidates is not None and not 1 <= candidates <= MAX_CANDIDATES:
        yield _violation("sampling.candidate_count", f"a whole number from 1 to {MAX_CANDIDATES}", candidates)
    if len(sampling.stop_sequences) > MAX_STOP_SEQUENCES:
        wanted = f"at most {MAX_STOP_SEQUENCES} sequences"
        yield _violation("sampling.stop_sequences", wanted, len(sampling.stop_sequences))
    for index, sequence in enumerate(sampling.stop_sequences):
        if not sequence:
            described = "a stop sequence must not be empty"
            yield FieldViolation(field=f"sampling.stop_sequences[{index}]", description=described)
    yield from _of_scores(sampling)


def _of_scores(sampling: RequestedSampling) -> Iterator[FieldViolation]:
    """What is wrong with the penalties and log probabilities that a request asks for."""
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
        yield FieldViolation(field="sampling.logprobs", description=described)


def _of_names(request: TuningRequest) -> Iterator[FieldViolation]:
    source = request.tuned_model_source
    if not request.base_model and not source:
        yield FieldViolation(field="base_model", description="base_model is required, such as models/...")
    if request.base_model and source:
        described = "tuned_model_source and base_model exclude each other; give one of them"
        yield FieldViolation(field="tuned_model_source", description=described)
    if source and id_in_name(source) is None:
        described = f"tuned_model must be the name of a tuned model, such as tunedModels/...; {source[:80]!r} was given"
        yield FieldViolation(field="tuned_model_source", description=described)
    if request.tuned_model_id is not None:
        yield from violations_of_chosen_id(request.tuned_model_id, "tuned_model_id")


def _of_owners_choices(chosen: TuningRequest | ModelChange) -> Iterator[FieldViolation]:
    """What is wrong with that which the owner chooses at first and may change later."""
    for name, text, most in (
        ("display_name", chosen.display_name, MAX_DISPLAY_NAME_CHARACTERS),
        ("description", chosen.description, MAX_DESCRIPTION_CHARACTERS),
    ):
        if len(text) > most:
            described = f"{name} must be at most {most} characters; it has {len(text)}"
            yield FieldViolation(field=name, description=described)
        if "\0" in text:
            yield FieldViolation(field=name, description=f"{name} must not contain the character U+0000")
        if refusal := refusal_of(text):
            yield FieldViolation(field=name, description=f"{name} {refusal}")
    yield from _of_draw(chosen.temperature, MAX_TUNED_TEMPERATURE, chosen.top_p, chosen.top_k, "")
    yield from _of_projects(chosen.reader_project_numbers)


def _of_projects(numbers: tuple[int, ...]) -> Iterator[FieldViolation]:
    if len(numbers) > MAX_READER_PROJECTS:
        wanted = f"reader_project_numbers must be at most {MAX_READER_PROJECTS} numbers; {len(numbers)} were given"
        yield FieldViolation(field="reader_project_numbers", description=wanted)
        return
    for index, number in enumerate(numbers):
        if not 1 <= number < 2**63:
            described = f"a project number must be from 1 to {2**63 - 1}; {number} was given"
            yield FieldViolation(field=f"reader_project_numbers[{index}]", description=described)


def _of_draw(
    temperature: float | None, max_temperature: float, top_p: float | None, top_k: int | None, prefix: str
) -> Iterator[FieldViolation]:
    if temperature is not None and not 0 <= temperature <= max_temperature:
        yield _violation(f"{prefix}temperature", f"a number from 0 to {max_temperature:g}", temperature)
    if top_p is not None and not 0 < top_p <= 1:
        yield _violation(f"{prefix}top_p", "a number above 0 and at most 1", top_p)
    if top_k is not None and top_k < 1:
        yield _violation(f"{prefix}top_k", "at least 1", top_k)


def _of_resolved(request: TuningRequest, base: BaseModel) -> Iterator[FieldViolation]:
    """What only shows when the defaults are filled in: too many steps, a multiplied rate that is too high."""
    count = len(request.examples)
    used = hyperparameters.resolve(request.hyperparameters, count, base.default_learning_rate)
    steps = used.total_steps(count)
    if steps > MAX_STEPS:
        described = (
            f"{count} examples, {used.epoch_count} epochs and batches of {used.batch_size} make {steps} steps; "
            f"at most {MAX_STEPS} are allowed, so lower epoch_count or raise batch_size"
        )
        yield FieldViolation(field="hyperparameters", description=described)
    if used.learning_rate > MAX_LEARNING_RATE:
        described = f"learning_rate_multiplier leads to a rate of {used.learning_rate:g}; at most {MAX_LEARNING_RATE:g}"
        yield FieldViolation(field="hyperparameters.learning_rate_multiplier", description=described)


def _violation(field: str, wanted: str, given: float) -> FieldViolation:
    name = field.rpartition(".")[2]
    return FieldViolation(field=field, description=f"{name} must be {wanted}; {given} was given")
