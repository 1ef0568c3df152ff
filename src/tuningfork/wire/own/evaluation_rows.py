"""Rows of evaluation runs: parses which are wanted, and renders them, as JSON and as CSV."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tuningfork.domain.answer_scores import Measure
from tuningfork.domain.errors import FieldViolation, Reason
from tuningfork.domain.evaluation_run import AnsweredRow, EvaluationRun, ModelAnswer
from tuningfork.domain.verdicts import Verdict
from tuningfork.wire.google.proto_json.decode import decode_query
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.requests import refused
from tuningfork.wire.own.evaluation_runs import model_name, parse_measure

_PACKAGE = "tuningfork.v1"
_REQUEST = "ListEvaluationRowsRequest"
_USUAL_COUNT = 50
_USUAL_CHARACTERS = 2_000
_MOST_CHARACTERS = 1_000_000
_MAX_SEARCH_CHARACTERS = 200
_FORMULA_BEGINS = tuple("=+-@\t\r")

ROWS_QUERY = Message(
    f"{_PACKAGE}.{_REQUEST}",
    (
        # The name of one of the run's models: whose losses are shown.
        Field(1, "model", Kind.STRING),
        Field(2, "measure", Kind.STRING),
        # LOST, TIED or WON.
        Field(3, "verdict", Kind.STRING),
        Field(4, "search", Kind.STRING),
        Field(5, "start", Kind.INT32),
        Field(6, "count", Kind.INT32, presence=True),
        Field(7, "cell_characters", Kind.INT32, presence=True),
    ),
)
SCORE_OF_ANSWER = Message(
    f"{_PACKAGE}.EvaluationAnswer.Score",
    (Field(1, "measure", Kind.STRING), Field(2, "score", Kind.DOUBLE, presence=True)),
)
ANSWER = Message(
    f"{_PACKAGE}.EvaluationAnswer",
    (
        Field(1, "model", Kind.STRING),
        Field(2, "text", Kind.STRING, presence=True),
        Field(3, "scores", SCORE_OF_ANSWER, repeated=True),
        # The model ended it, before its limit of tokens.
        Field(4, "stopped", Kind.BOOL, presence=True),
        Field(5, "token_count", Kind.INT32, presence=True),
        # Why there is no answer.
        Field(6, "problem", Kind.STRING),
        # Whether the text is only the begin of the answer.
        Field(7, "cut", Kind.BOOL),
    ),
)
TURN = Message(f"{_PACKAGE}.EvaluationRow.Turn", (Field(1, "role", Kind.STRING), Field(2, "text", Kind.STRING)))
ROW = Message(
    f"{_PACKAGE}.EvaluationRow",
    (
        Field(1, "number", Kind.INT32),
        Field(2, "verdict", Kind.STRING),
        Field(3, "system_instruction", Kind.STRING, presence=True),
        # What was said before, if it is a conversation of several turns.
        Field(4, "earlier_turns", TURN, repeated=True),
        Field(5, "input", Kind.STRING, presence=True),
        Field(6, "expected", Kind.STRING, presence=True),
        Field(7, "answers", ANSWER, repeated=True),
        # The names of the models that were trained on the question.
        Field(8, "trained_on_by", Kind.STRING, repeated=True),
    ),
)
VERDICT_COUNT = Message(
    f"{_PACKAGE}.VerdictCount", (Field(1, "verdict", Kind.STRING), Field(2, "count", Kind.INT32, presence=True))
)
ROWS = Message(
    f"{_PACKAGE}.ListEvaluationRowsResponse",
    (
        Field(1, "rows", ROW, repeated=True),
        # With the wanted verdict and text.
        Field(2, "total_size", Kind.INT32, presence=True),
        Field(3, "verdicts", VERDICT_COUNT, repeated=True),
        Field(4, "model", Kind.STRING),
        Field(5, "measure", Kind.STRING),
    ),
)


class AskedRows:
    """What a caller asks of the rows of a run; the model is a name, which only the run makes an index.

    Cells are cut to `cell_characters`.
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.model: str = fields.get("model", "")
        self.measure = parse_measure(fields["measure"]) if fields.get("measure") else None
        self.verdict = Verdict(fields["verdict"]) if fields.get("verdict") else None
        self.search: str = fields.get("search", "").strip()
        self.start: int = fields.get("start", 0)
        self.count: int = fields.get("count", _USUAL_COUNT)
        self.cell_characters: int = fields.get("cell_characters", _USUAL_CHARACTERS)


def parse_rows(query: Mapping[str, str]) -> AskedRows:
    """The rows that a query asks for.

    Raises:
        InvalidArgument: a parameter is unknown or malformed.

    """
    fields = decode_query(ROWS_QUERY, query)
    if found := tuple(_violations(fields)):
        raise refused(_REQUEST, found)
    return AskedRows(fields)


def index_of_model(run: EvaluationRun, name: str) -> int | None:
    """The index of the model with this name; None: no name was given.

    Raises:
        InvalidArgument: the run has no such model.

    """
    names = [model_name(model.ref) for model in run.models]
    if not name:
        return None
    if name not in names:
        described = f"model must be one of {', '.join(names)}; {name[:80]!a} was given"
        raise refused(_REQUEST, (FieldViolation(field="model", description=described, reason=Reason.NOT_ALLOWED),))
    return names.index(name)


def measure_refused(run: EvaluationRun, measure: Measure) -> Exception:
    """The error for a measure that a run does not have."""
    described = f"measure must be one of the evaluation's, {', '.join(run.measures)}; {measure.value} was given"
    return refused(_REQUEST, (FieldViolation(field="measure", description=described, reason=Reason.NOT_ALLOWED),))


def render_rows(
    run: EvaluationRun,
    rows: Sequence[tuple[AnsweredRow, Verdict]],
    *,
    total: int,
    verdicts: Mapping[Verdict, int],
    model: int,
    measure: Measure,
    cell_characters: int,
) -> Typed:
    """A window of rows, and how many there are."""
    names = [model_name(each.ref) for each in run.models]
    fields = {
        "rows": [_row(run, names, each, verdict, cell_characters) for each, verdict in rows],
        "total_size": total,
        "verdicts": [{"verdict": each.value, "count": verdicts.get(each, 0)} for each in Verdict],
        "model": names[model],
        "measure": measure.value,
    }
    return Typed(ROWS, fields)


def csv_of(run: EvaluationRun, rows: Iterable[AnsweredRow]) -> Iterator[bytes]:
    """Lines of CSV: each example with the answers and scores of all models, in UTF-8.

    A text that a spreadsheet would take for a formula gets an apostrophe before it, unless it is a number.
    """
    names = [model_name(model.ref) for model in run.models]
    heads = ["number", "system_instruction", "earlier_turns", "input", "expected", "trained_on_by"]
    for name in names:
        heads += [f"{name} answer", f"{name} problem", *(f"{name} {measure.value}" for measure in run.measures)]
    yield _line(heads)
    for each in rows:
        row = each.row
        earlier = "\n".join(f"{turn.speaker.value}: {turn.text}" for turn in row.prompt.turns[:-1])
        known = " ".join(names[index] for index in sorted(row.leaked))
        cells = [str(row.number), row.prompt.system_instruction or "", earlier, row.question, row.expected, known]
        for index in range(len(names)):
            answer = each.answers.get(index)
            cells += [answer.text if answer else "", answer.problem if answer else ""]
            cells += [f"{answer.scores[measure]:g}" if answer else "" for measure in run.measures]
        yield _line(cells)


def _line(cells: Iterable[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow([_harmless(cell) for cell in cells])
    return text.getvalue().encode("utf-8", "replace")


def _harmless(cell: str) -> str:
    if not cell.startswith(_FORMULA_BEGINS):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def _row(run: EvaluationRun, names: Sequence[str], each: AnsweredRow, verdict: Verdict, most: int) -> dict[str, Any]:
    row = each.row
    return {
        "number": row.number,
        "verdict": verdict.value,
        "system_instruction": row.prompt.system_instruction,
        "earlier_turns": [{"role": turn.speaker.value, "text": turn.text[:most]} for turn in row.prompt.turns[:-1]],
        "input": row.question[:most],
        "expected": row.expected[:most],
        "answers": [_answer(run, names[index], each.answers[index], most) for index in sorted(each.answers)],
        "trained_on_by": [names[index] for index in sorted(row.leaked)],
    }


def _answer(run: EvaluationRun, name: str, answer: ModelAnswer, most: int) -> dict[str, Any]:
    return {
        "model": name,
        "text": answer.text[:most],
        "scores": [{"measure": each.value, "score": round(answer.scores[each], 4)} for each in run.measures],
        "stopped": answer.stopped,
        "token_count": answer.output_tokens,
        "problem": answer.problem,
        "cut": answer.cut or len(answer.text) > most,
    }


def _violations(fields: Mapping[str, Any]) -> Iterator[FieldViolation]:
    for name, most in (("start", 1_000_000), ("count", 200), ("cell_characters", _MOST_CHARACTERS)):
        if not 0 <= (given := fields.get(name, 0)) <= most:
            described = f"{name} must be from 0 to {most}; {given} was given"
            yield FieldViolation(field=name, description=described, reason=Reason.OUT_OF_RANGE)
    for name, kind in (("measure", Measure), ("verdict", Verdict)):
        if (given := fields.get(name, "")) and given not in set(kind):
            described = f"{name} must be one of {', '.join(kind)}; {given[:40]!a} was given"
            yield FieldViolation(field=name, description=described, reason=Reason.NOT_ALLOWED)
    if len(fields.get("search", "")) > _MAX_SEARCH_CHARACTERS:
        described = f"search must have at most {_MAX_SEARCH_CHARACTERS} characters; it has {len(fields['search'])}"
        yield FieldViolation(field="search", description=described, reason=Reason.TOO_LONG)
