"""The rules that training examples must meet, checked one example at a time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tuningfork.domain.base_model import Limits
from tuningfork.domain.conversation import Conversation, Example, Preference, Speaker
from tuningfork.domain.errors import FieldViolation, Reason
from tuningfork.domain.objective import CrossEntropy, Objective
from tuningfork.domain.text import refusal_of

MAX_REPORTED_VIOLATIONS = 100
"""The most violations that are listed. A last line counts the others, so that an error stays readable."""

Examples = tuple[Example, ...]
"""Examples that are in memory, in order, such as those in the body of a request."""


def characters_of(example: Example) -> int:
    """The number of characters in all texts of an example."""
    if isinstance(example, Preference):
        return characters_of(example.prompt) + sum(map(len, (*example.chosen, *example.rejected)))
    return len(example.system_instruction or "") + sum(len(part) for turn in example.turns for part in turn.parts)


def refusal_of_kind(example: Example, *, wants_preferences: bool) -> str | None:
    """What is wrong with an example for an objective that learns from preferences, or else from conversations.

    None if it is of the right kind.
    """
    if isinstance(example, Preference) == wants_preferences:
        return None
    if wants_preferences:
        given, ways_out = "a conversation", "give preferences, or tune with cross-entropy"
    else:
        given, ways_out = "a preference", "give conversations, or tune with DPO"
    wanted = "preferences" if wants_preferences else "conversations"
    return f"the objective learns from {wanted}, and this example is {given}: {ways_out}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetStatistics:
    """Sizes of a dataset, in Unicode code points: of all examples together, and of the longest one."""

    characters: int
    longest_characters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRef:
    """Refers to a stored dataset: the name of its artifact, and facts about it that are known without reading it.

    `count` is of examples; `digest` is the SHA-256 of the file, in hexadecimal digits.
    """

    artifact: str
    count: int
    digest: str
    statistics: DatasetStatistics


class ExampleCheck:
    """Checks examples one after the other, and collects violations in bounded memory.

    Args:
        limits: the base model's limits; characters are Unicode code points.
        path: the path of the list of examples in the request, such as
            `tuned_model.tuning_task.training_data.examples.examples`.
        objective: the job's objective; an example must be of the kind that it learns from.

    """

    def __init__(self, limits: Limits, path: str, objective: Objective) -> None:
        self.count = 0
        self._objective = objective
        self._limits = limits
        self._path = path
        self._found: list[FieldViolation] = []
        self._unreported = 0

    def add(self, example: Example) -> None:
        """Check the next example."""
        for violation in self._violations_of(example, f"{self._path}[{self.count}]"):
            if len(self._found) < MAX_REPORTED_VIOLATIONS:
                self._found.append(violation)
            else:
                self._unreported += 1
        self.count += 1

    def violations(self) -> tuple[FieldViolation, ...]:
        """Everything that is wrong with the examples so far, each with its index, in order."""
        if not self.count:
            return (
                FieldViolation(field=self._path, description="at least one example is required", reason=Reason.MISSING),
            )
        if not self._unreported:
            return tuple(self._found)
        described = f"and {self._unreported} more violations of the same kinds"
        return (*self._found, FieldViolation(field=self._path, description=described))

    def _violations_of(self, example: Example, path: str) -> Iterator[FieldViolation]:
        if described := refusal_of_kind(example, wants_preferences=self._objective.over_preferences):
            yield FieldViolation(field=path, description=described, reason=Reason.NOT_ALLOWED)
        else:
            yield from _check(example, self._limits, path)


def violations_of(
    examples: Iterable[Example], limits: Limits, path: str, objective: Objective | None = None
) -> tuple[FieldViolation, ...]:
    """Everything that is wrong with these examples, each with its index, in order; see `ExampleCheck`.

    `objective` None: cross-entropy.
    """
    check = ExampleCheck(limits, path, objective or CrossEntropy())
    for example in examples:
        check.add(example)
    return check.violations()


def _check(example: Example, limits: Limits, path: str) -> Iterator[FieldViolation]:
    if isinstance(example, Preference):
        yield from _check_preference(example, limits, path)
    elif (pair := example.as_pair()) is not None:
        yield from _check_pair(*pair, limits, path)
    else:
        yield from _check_conversation(example, limits, path)


def _check_pair(text_input: str, output: str, limits: Limits, path: str) -> Iterator[FieldViolation]:
    if not output:
        yield FieldViolation(field=f"{path}.output", description="output must not be empty", reason=Reason.MISSING)
    for name, text, limit in (
        ("text_input", text_input, limits.max_input_characters),
        ("output", output, limits.max_output_characters),
    ):
        yield from _check_text(name, text, limit, f"{path}.{name}")


def _check_conversation(example: Conversation, limits: Limits, path: str) -> Iterator[FieldViolation]:
    if not limits.conversations:
        system = "" if example.system_instruction is None else " and a system instruction"
        described = (
            "this model learns from one input and one output at a time; "
            f"a conversation of {len(example.turns)} turns{system} was given"
        )
        yield FieldViolation(field=path, description=described)
        return
    yield from _check_input(example, limits, path)
    if not any(turn.is_learned for turn in example.turns):
        described = "at least one turn of the model must have weight 1; nothing is learned from this example"
        yield FieldViolation(field=f"{path}.turns", description=described, reason=Reason.MISSING)
    for index, turn in enumerate(example.turns):
        field = f"{path}.turns[{index}]"
        if turn.speaker is Speaker.MODEL:
            yield from _check_text("the turn", turn.text, limits.max_output_characters, field)
        if not turn.is_learned:
            continue
        if index == 0:
            yield FieldViolation(
                field=field,
                description="a turn that is learned must follow a turn of the user",
                reason=Reason.NOT_ALLOWED,
            )
        if not turn.text:
            yield FieldViolation(
                field=field, description="a turn that is learned must not be empty", reason=Reason.MISSING
            )


def _check_preference(example: Preference, limits: Limits, path: str) -> Iterator[FieldViolation]:
    yield from _check_input(example.prompt, limits, f"{path}.prompt")
    if not example.prompt.turns or example.prompt.turns[-1].speaker is not Speaker.USER:
        yield FieldViolation(
            field=f"{path}.prompt", description="the prompt must end with a turn of the user", reason=Reason.NOT_ALLOWED
        )
    for name, parts in (("chosen", example.chosen), ("rejected", example.rejected)):
        text = "".join(parts)
        if not text:
            yield FieldViolation(field=f"{path}.{name}", description=f"{name} must not be empty", reason=Reason.MISSING)
        yield from _check_text(name, text, limits.max_output_characters, f"{path}.{name}")


def _check_input(conversation: Conversation, limits: Limits, path: str) -> Iterator[FieldViolation]:
    """Everything wrong with the system instruction and the user's turns, which together are the input."""
    said = [turn.text for turn in conversation.turns if turn.speaker is Speaker.USER]
    text = "".join([conversation.system_instruction or "", *said])
    yield from _check_text("the input", text, limits.max_input_characters, path)


def _check_text(name: str, text: str, limit: int | None, field: str) -> Iterator[FieldViolation]:
    if limit is not None and len(text) > limit:
        described = f"{name} must be at most {limit} characters; it has {len(text)}"
        yield FieldViolation(field=field, description=described, reason=Reason.TOO_LONG)
    if refusal := refusal_of(text):
        yield FieldViolation(field=field, description=f"{name} {refusal}", reason=Reason.MALFORMED)
