"""Training examples and the rules they must meet."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tuningfork.domain.base_model import Limits
from tuningfork.domain.errors import FieldViolation
from tuningfork.domain.text import refusal_of

MAX_REPORTED_VIOLATIONS = 100
"""More than this many are summed up in a last line, so that an answer stays readable."""


@dataclass(frozen=True, slots=True)
class Example:
    """One thing to learn: for this input, this output."""

    text_input: str
    output: str


Dataset = tuple[Example, ...]


def violations_of(examples: Sequence[Example], limits: Limits, path: str) -> tuple[FieldViolation, ...]:
    """Everything that is wrong with a dataset, each with its index, in order.

    Args:
        examples: the dataset as it was sent.
        limits: the base model's; characters are Unicode code points.
        path: where the list sits in the request, such as `tuned_model.tuning_task.training_data.examples.examples`.

    """
    if not examples:
        return (FieldViolation(field=path, description="at least one example is required"),)
    found = [
        violation for index, example in enumerate(examples) for violation in _check(example, limits, f"{path}[{index}]")
    ]
    if len(found) <= MAX_REPORTED_VIOLATIONS:
        return tuple(found)
    rest = len(found) - MAX_REPORTED_VIOLATIONS
    summary = FieldViolation(field=path, description=f"and {rest} more violations of the same kinds")
    return (*found[:MAX_REPORTED_VIOLATIONS], summary)


def _check(example: Example, limits: Limits, path: str) -> Iterator[FieldViolation]:
    if not example.output:
        yield FieldViolation(field=f"{path}.output", description="output must not be empty")
    for name, text, limit in (
        ("text_input", example.text_input, limits.max_input_characters),
        ("output", example.output, limits.max_output_characters),
    ):
        if limit is not None and len(text) > limit:
            yield FieldViolation(
                field=f"{path}.{name}",
                description=f"{name} must be at most {limit} characters; it has {len(text)}",
            )
        if refusal := refusal_of(text):
            yield FieldViolation(field=f"{path}.{name}", description=f"{name} {refusal}")
