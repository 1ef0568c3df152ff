"""An evaluation in words: what it is doing, how good each model is, and which rows a model lost.

Takes the API's answers about `evaluations`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuningfork.studio.texts.catalog import Texts
from tuningfork.studio.view.job_words import Badge, Tone
from tuningfork.studio.view.text_diff import Piece, text_diff

Json = Mapping[str, Any]

MEASURES = ("EXACT_MATCH", "NORMALIZED_MATCH", "ROUGE_L", "TOKEN_F1", "STOP_RATE", "VALID_JSON")
VERDICTS = ("LOST", "TIED", "WON")
COMPARING = frozenset(MEASURES[:4])
"""Measures that compare an answer with the expected one, so that the difference of the two says something."""

_TONES = {
    "QUEUED": Tone.WAITING,
    "RUNNING": Tone.BUSY,
    "SUCCEEDED": Tone.READY,
    "FAILED": Tone.BAD,
    "STOPPED": Tone.GONE,
}


@dataclass(frozen=True, slots=True)
class ShownScore:
    """A mean score and its interval, as texts and as shares from 0 to 1."""

    text: str
    bounds: str
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ShownModel:
    """A model of an evaluation. `scores` is by measure; `is_looked_at`: it is the one whose losses are shown."""

    name: str
    title: str
    is_tuned: bool
    is_looked_at: bool
    answered: int
    leaked: int
    scores: Mapping[str, ShownScore]


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """What a model has answered to one example: the difference from the expected answer, or why there is none."""

    title: str
    pieces: tuple[Piece, ...]
    is_right: bool
    score: str
    problem: str
    cut: bool


@dataclass(frozen=True, slots=True)
class ShownRow:
    """One example with its answers. `before` is what was said before the question, with who said it."""

    number: int
    verdict: str
    before: tuple[tuple[str, str], ...]
    question: str
    expected: str
    answers: tuple[ShownAnswer, ...]
    trained_on_by: tuple[str, ...]


def evaluation_id(run: Json) -> str:
    """The id of an evaluation run: the last part of its name, `evaluations/x`."""
    return str(run.get("name", "")).removeprefix("evaluations/")


def is_running(run: Json) -> bool:
    """Whether the evaluation run waits, or is at work."""
    return run.get("state") in {"QUEUED", "RUNNING"}


def badge(run: Json, texts: Texts) -> Badge:
    """The state in a word or two."""
    state = str(run.get("state", ""))
    if state == "RUNNING":
        return Badge(texts("evaluate.badge.running", share=texts.formats.percent(share_done(run))), Tone.BUSY)
    return Badge(texts(f"evaluate.badge.{state.lower()}"), _TONES.get(state, Tone.GONE))


def share_done(run: Json) -> float:
    """How many of the answers are there, from 0 to 1."""
    return min(1.0, int(run.get("answerCount", 0)) / max(1, int(run.get("totalAnswerCount", 0))))


def sentence(run: Json, texts: Texts) -> str:
    """What it is doing."""
    state = str(run.get("state", ""))
    values = {"done": int(run.get("answerCount", 0)), "total": int(run.get("totalAnswerCount", 0))}
    if run.get("stopRequested"):
        return texts("evaluate.state.stopping")
    if state in {"RUNNING", "STOPPED"}:
        said = texts(f"evaluate.state.{state.lower()}", **values)
        left = run.get("secondsLeft")
        return said if left is None else f"{said} {texts('evaluate.state.left', time=texts.formats.duration(left))}"
    if state == "SUCCEEDED":
        return texts("evaluate.state.succeeded", count=int(run.get("exampleCount", 0)))
    return texts("evaluate.state.queued" if state == "QUEUED" else "evaluate.state.failed")


def source(run: Json, texts: Texts) -> str:
    """Where its examples are from."""
    found = run.get("source", {})
    text_id = "evaluate.source.kept" if found.get("keptBackBy") else "evaluate.source.data"
    return texts(text_id, name=str(found.get("displayName", "")), count=int(run.get("exampleCount", 0)))


def models_of(run: Json, looked_at: str, texts: Texts) -> tuple[ShownModel, ...]:
    """The models with their scores; `looked_at` is the name of the one whose losses are shown."""
    scores: dict[str, dict[str, ShownScore]] = {}
    for each in run.get("scores", ()):
        scores.setdefault(str(each["model"]), {})[str(each["measure"])] = _score(each, texts)
    return tuple(
        ShownModel(
            name=str(each["name"]),
            title=title_of(each),
            is_tuned=str(each["name"]).startswith("tunedModels/"),
            is_looked_at=each["name"] == looked_at,
            answered=int(each.get("answerCount", 0)),
            leaked=int(each.get("leakedExampleCount", 0)),
            scores=scores.get(str(each["name"]), {}),
        )
        for each in run.get("models", ())
    )


def title_of(model: Json) -> str:
    """What people call a model; a checkpoint with its number."""
    name, title = str(model.get("name", "")), str(model.get("displayName") or model.get("name", ""))
    _, found, number = name.partition("/checkpoints/")
    return f"{title} #{number}" if found else title


def remarks(run: Json, models: Sequence[ShownModel], measure: str, texts: Texts) -> Iterator[str]:
    """How the model that is looked at compares with each other one, by a measure."""
    looked_at = next((each for each in models if each.is_looked_at), None)
    titles = {each.name: each.title for each in models}
    for each in run.get("differences", ()):
        pair = (str(each["firstModel"]), str(each["secondModel"]))
        if each["measure"] != measure or looked_at is None or looked_at.name not in pair:
            continue
        other = pair[1] if pair[0] == looked_at.name else pair[0]
        mean = float(each["mean"]) if pair[0] == looked_at.name else -float(each["mean"])
        values = {"model": looked_at.title, "other": titles.get(other, other)}
        if not each.get("clear"):
            yield texts("evaluate.remark.unclear", **values)
            continue
        better = "evaluate.remark.better" if mean > 0 else "evaluate.remark.worse"
        yield texts(better, points=texts.formats.number(abs(mean) * 100, 1), **values)


def rows_of(found: Json, run: Json, measure: str, texts: Texts) -> tuple[ShownRow, ...]:
    """A window of rows, each answer with its difference from the expected one where the measure compares the two."""
    titles = {str(each["name"]): title_of(each) for each in run.get("models", ())}
    return tuple(_row(each, titles, measure, texts) for each in found.get("rows", ()))


def _row(row: Json, titles: Mapping[str, str], measure: str, texts: Texts) -> ShownRow:
    expected = str(row.get("expected", ""))
    before = [("system", str(row["systemInstruction"]))] if row.get("systemInstruction") else []
    before += [(str(turn.get("role", "")), str(turn.get("text", ""))) for turn in row.get("earlierTurns", ())]
    return ShownRow(
        number=int(row.get("number", 0)),
        verdict=str(row.get("verdict", "")),
        before=tuple(before),
        question=str(row.get("input", "")),
        expected=expected,
        answers=tuple(_answer(each, titles, expected, measure, texts) for each in row.get("answers", ())),
        trained_on_by=tuple(titles.get(str(name), str(name)) for name in row.get("trainedOnBy", ())),
    )


def _answer(answer: Json, titles: Mapping[str, str], expected: str, measure: str, texts: Texts) -> ShownAnswer:
    text = str(answer.get("text", ""))
    scores = {str(each["measure"]): float(each.get("score", 0)) for each in answer.get("scores", ())}
    score = scores.get(measure, 0.0)
    differs = measure in COMPARING and text != expected
    return ShownAnswer(
        title=titles.get(str(answer.get("model", "")), str(answer.get("model", ""))),
        pieces=text_diff(expected if differs else text, text),
        is_right=score >= 1,
        # Of a measure of yes and no the mark says all.
        score="" if score in {0.0, 1.0} else texts.formats.percent(score),
        problem=str(answer.get("problem", "")),
        cut=bool(answer.get("cut")),
    )


def _score(score: Json, texts: Texts) -> ShownScore:
    mean, low, high = (float(score.get(name, 0.0)) for name in ("mean", "low", "high"))
    formats = texts.formats
    bounds = texts("evaluate.bounds", low=formats.percent(low), high=formats.percent(high))
    return ShownScore(text=formats.percent(mean), bounds=bounds, mean=mean, low=low, high=high)
