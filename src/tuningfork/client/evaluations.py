"""Evaluations as a caller sees them: held-out examples that several models answer, and what their answers are worth."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tuningfork.client import answer_fields as fields
from tuningfork.client.answer_fields import Json
from tuningfork.client.errors import ClientError, TrainingFileError
from tuningfork.client.revocable import Read

MAX_FILE_BYTES = 64 * 2**20
"""The largest file that the server's method takes."""
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
POLL_SECONDS = 0.5
_EVALUATIONS = "/tuningfork/v1/evaluations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The mean score of a model by a measure, from 0 to 1, and the bounds of its 95 % interval."""

    model: str
    measure: str
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The score of one model minus that of another. `is_clear`: there are enough examples to tell the two apart."""

    first: str
    second: str
    measure: str
    mean: float
    is_clear: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationEntry:
    """An evaluation as it is now. `leaked`: by model, how many of the examples it was trained on, if any."""

    name: str
    state: str
    example_count: int
    answer_count: int
    total_answer_count: int
    models: tuple[str, ...]
    measures: tuple[str, ...]
    scores: tuple[Score, ...]
    differences: tuple[Difference, ...]
    leaked: dict[str, int]
    error: str
    answer: Json = field(default_factory=dict, repr=False, compare=False)
    """The JSON that it was read from."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is answered."""
        return self.state in ENDED

    def score(self, model: str, measure: str) -> Score | None:
        """The score of a model by a measure; None: there is none yet."""
        return next((each for each in self.scores if (each.model, each.measure) == (model, measure)), None)


@dataclass(frozen=True, slots=True)
class EvaluationCalls:
    """The methods about evaluations, and about the data that they need."""

    read: Read
    sleep: Callable[[float], None]

    def stage(self, file: Path) -> str:
        """Upload a file of examples of any kind that tuning takes, and return the name of the data set.

        Raises:
            TrainingFileError: it cannot be read, is empty or too large, or its columns do not tell what they are.
            ServiceRefusal: the server cannot read it.

        """
        try:
            size = file.stat().st_size
            content = file.read_bytes() if 0 < size <= MAX_FILE_BYTES else b""
        except OSError as error:
            raise TrainingFileError(f"{file} cannot be read: {error.strerror}.") from error
        if not content:
            said = f"has {size:,} bytes, and an evaluation takes at most {MAX_FILE_BYTES:,}" if size else "is empty"
            raise TrainingFileError(f"{file} {said}.")
        query = {"name": file.name, "displayName": file.name}
        name, is_settled = self.read(_parse_dataset, "POST", "/tuningfork/v1/datasets", params=query, content=content)
        if not is_settled:
            self.discard(name)
            raise TrainingFileError(
                f"The columns of {file} do not tell which is the question and which the answer.",
                advice="Call them text_input and output in the first row.",
            )
        return name

    def discard(self, dataset: str) -> None:
        """Delete a data set."""
        self.read(dict, "DELETE", f"/tuningfork/v1/{dataset}")

    def begin(self, models: Sequence[str], data: Json, **wanted: object) -> EvaluationEntry:
        """Begin an evaluation.

        Args:
            models: names of models.
            data: `{"dataset": NAME}` or `{"keptBackBy": NAME}`.
            wanted: further fields of the API's method; None: left out.

        Raises:
            ServiceRefusal: whatever is wrong with it.

        """
        further = {name: value for name, value in wanted.items() if value is not None}
        return self.read(parse_evaluation, "POST", _EVALUATIONS, json={"models": list(models), **data, **further})

    def get(self, name: str) -> EvaluationEntry:
        """An evaluation as it is now."""
        return self.read(parse_evaluation, "GET", f"/tuningfork/v1/{name}")

    def stop(self, name: str) -> EvaluationEntry:
        """Stop an evaluation; what was answered is kept."""
        return self.read(parse_evaluation, "POST", f"/tuningfork/v1/{name}:stop", json={})

    def watch(self, begun: EvaluationEntry) -> Iterator[EvaluationEntry]:
        """The evaluation again and again, until it has ended."""
        current = begun
        yield current
        while not current.has_ended:
            self.sleep(POLL_SECONDS)
            current = self.get(begun.name)
            yield current


def parse_evaluation(answer: Json) -> EvaluationEntry:
    """A tuningfork.v1.EvaluationRun."""
    models = fields.objects(answer, "models")
    leaked = {fields.name(each, "name"): fields.count(each, "leakedExampleCount") for each in models}
    return EvaluationEntry(
        name=fields.name(answer, "name"),
        state=fields.name(answer, "state"),
        example_count=fields.count(answer, "exampleCount"),
        answer_count=fields.count(answer, "answerCount"),
        total_answer_count=fields.count(answer, "totalAnswerCount"),
        models=tuple(fields.name(each, "name") for each in models),
        measures=tuple(_names(answer, "measures")),
        scores=tuple(map(_score, fields.objects(answer, "scores"))),
        differences=tuple(map(_difference, fields.objects(answer, "differences"))),
        leaked={name: count for name, count in leaked.items() if count},
        error=fields.text(answer, "error", ""),
        answer=answer,
    )


def result_of(ended: EvaluationEntry) -> EvaluationEntry:
    """The evaluation if it has scores.

    Raises:
        ClientError: it failed.

    """
    if ended.state == "FAILED":
        raise ClientError(f"{ended.name} failed: {ended.error}", advice="What was answered before is kept.")
    return ended


def _parse_dataset(answer: Json) -> tuple[str, bool]:
    return fields.name(answer, "name"), fields.flag(answer, "columnsSettled")


def _score(answer: Json) -> Score:
    return Score(
        model=fields.name(answer, "model"),
        measure=fields.name(answer, "measure"),
        mean=fields.number(answer, "mean"),
        low=fields.number(answer, "low"),
        high=fields.number(answer, "high"),
    )


def _difference(answer: Json) -> Difference:
    return Difference(
        first=fields.name(answer, "firstModel"),
        second=fields.name(answer, "secondModel"),
        measure=fields.name(answer, "measure"),
        mean=fields.number(answer, "mean"),
        is_clear=fields.flag(answer, "clear"),
    )


def _names(answer: Json, key: str) -> list[str]:
    found = answer.get(key, [])
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise TypeError(f"{key} is no list of texts")
    return [fields.name({"name": each}, "name") for each in found]
