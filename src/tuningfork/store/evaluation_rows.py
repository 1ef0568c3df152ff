"""The tables of the examples of evaluation runs and of the answers to them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from tuningfork.domain import dataset_lines
from tuningfork.domain.answer_scores import Measure
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.evaluation_run import AnsweredRow, EvaluationRow, EvaluationRunId, ModelAnswer
from tuningfork.store.evaluation_tables import evaluation_answers, evaluation_rows

_AT_A_TIME = 200
"""How many numbers a query names."""


def insert_rows(connection: Connection, run_id: EvaluationRunId, rows: Sequence[EvaluationRow]) -> None:
    """Add the examples of a run, in the order in which they are to be asked."""
    connection.execute(
        evaluation_rows.insert(),
        [
            {
                "run_id": run_id,
                "number": row.number,
                "turn": turn,
                "content": {"p": dataset_lines.line_of(row.prompt).decode("ascii"), "e": row.expected},
                "leaked": sorted(row.leaked),
            }
            for turn, row in enumerate(rows)
        ],
    )


def rows_of(connection: Connection, run_id: EvaluationRunId) -> Iterator[EvaluationRow]:
    """All examples of a run, in the order in which they are asked."""
    query = select(evaluation_rows).where(evaluation_rows.c.run_id == run_id).order_by(evaluation_rows.c.turn)
    return map(_row, connection.execute(query).mappings())


def answered(connection: Connection, run_id: EvaluationRunId) -> set[tuple[int, int]]:
    """The number of each example that has been answered, with the index of the model."""
    columns = evaluation_answers.c
    query = select(columns.number, columns.model).where(columns.run_id == run_id)
    return {(number, model) for number, model in connection.execute(query)}


def insert_answers(connection: Connection, run_id: EvaluationRunId, answers: Collection[ModelAnswer]) -> None:
    """Add answers."""
    rows = []
    for answer in answers:
        content = asdict(answer)
        number, model, scores = content.pop("number"), content.pop("model"), content.pop("scores")
        named = {measure.value: score for measure, score in scores.items()}
        rows.append({"run_id": run_id, "number": number, "model": model, "scores": named, "content": content})
    if rows:
        connection.execute(evaluation_answers.insert(), rows)


def mark_leaked(connection: Connection, run_id: EvaluationRunId, leaked: Mapping[int, frozenset[int]]) -> None:
    """Note the indexes of the models that were trained on an example, by its number."""
    columns = evaluation_rows.c
    for number, models in leaked.items():
        change = evaluation_rows.update().where(columns.run_id == run_id, columns.number == number)
        connection.execute(change.values(leaked=sorted(models)))


def scores_of(connection: Connection, run_id: EvaluationRunId) -> dict[int, dict[int, Mapping[Measure, float]]]:
    """The scores of all answers, by the number of the example and the index of the model."""
    columns = evaluation_answers.c
    query = select(columns.number, columns.model, columns.scores).where(columns.run_id == run_id)
    found: dict[int, dict[int, Mapping[Measure, float]]] = {}
    for number, model, scores in connection.execute(query.order_by(columns.number, columns.model)):
        found.setdefault(number, {})[model] = _scores(scores)
    return found


def answered_rows(connection: Connection, run_id: EvaluationRunId, numbers: Sequence[int]) -> list[AnsweredRow]:
    """The examples of these numbers with their answers, in this order."""
    of_row, of_answer = evaluation_rows.c, evaluation_answers.c
    rows: dict[int, EvaluationRow] = {}
    answers: dict[int, dict[int, ModelAnswer]] = {}
    for begin in range(0, len(numbers), _AT_A_TIME):
        some = numbers[begin : begin + _AT_A_TIME]
        wanted = select(evaluation_rows).where(of_row.run_id == run_id, of_row.number.in_(some))
        rows.update((row["number"], _row(row)) for row in connection.execute(wanted).mappings())
        given = select(evaluation_answers).where(of_answer.run_id == run_id, of_answer.number.in_(some))
        for row in connection.execute(given).mappings():
            answers.setdefault(row["number"], {})[row["model"]] = _answer(row)
    return [AnsweredRow(row=rows[each], answers=answers.get(each, {})) for each in numbers if each in rows]


def _row(row: RowMapping) -> EvaluationRow:
    prompt = dataset_lines.example_in(row["content"]["p"])
    if not isinstance(prompt, Conversation):
        raise TypeError("the prompt of an evaluation is no preference")
    leaked = frozenset(row["leaked"])
    return EvaluationRow(number=row["number"], prompt=prompt, expected=row["content"]["e"], leaked=leaked)


def _answer(row: RowMapping) -> ModelAnswer:
    return ModelAnswer(number=row["number"], model=row["model"], scores=_scores(row["scores"]), **row["content"])


def _scores(stored: Mapping[str, Any]) -> Mapping[Measure, float]:
    return {Measure(name): score for name, score in stored.items()}
