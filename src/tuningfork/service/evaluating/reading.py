"""Looking at evaluation runs: one, all of a person's, and the examples with their answers, losses first."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tuningfork.domain.answer_scores import Measure
from tuningfork.domain.evaluation_run import (
    AnsweredRow,
    EvaluationNotFound,
    EvaluationRun,
    EvaluationRunId,
    RunState,
)
from tuningfork.domain.permission import Principal
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.domain.verdicts import Verdict, in_order, verdict_of
from tuningfork.store import evaluation_rows, evaluation_runs
from tuningfork.store.database import Database, Transaction

MAX_WINDOW = 200
"""How many rows are read at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedRows:
    """Which rows are wanted: of one model's verdicts by one measure; `verdict` None: all. `search` "": all texts.

    `model` is the index of the model that is looked at; None: the last one that is tuned, or else the last one.
    `measure` None: the run's first.
    """

    model: int | None = None
    measure: Measure | None = None
    verdict: Verdict | None = None
    search: str = ""
    start: int = 0
    count: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRows:
    """A window of rows, each with its verdict. Rows that a model has not answered yet are not among them.

    `total` is how many rows there are with the wanted verdict and text; `verdicts` counts all rows by their verdict.
    """

    run: EvaluationRun
    model: int
    measure: Measure
    rows: tuple[tuple[AnsweredRow, Verdict], ...]
    total: int
    verdicts: Mapping[Verdict, int]


class Reading:
    """The use cases. Thread-safe."""

    def __init__(self, database: Database, clock: Callable[[], datetime], stopped: Callable[[], None]) -> None:
        self._database = database
        self._clock = clock
        self._stopped = stopped

    def get(self, principal: Principal, run_id: EvaluationRunId) -> EvaluationRun:
        """A run of the caller.

        Raises:
            EvaluationNotFound: there is none of this id, or it is somebody else's.

        """
        with self._database.read() as connection:
            return _find(connection, principal, run_id)

    def list(self, principal: Principal, model: TunedModelId | None = None) -> Sequence[EvaluationRun]:
        """The runs of the caller, the newest first; `model`: only those that ask this tuned model or a checkpoint."""
        with self._database.read() as connection:
            found = evaluation_runs.of_owner(connection, principal.email)
        return [run for run in found if model is None or model in {each.tuned_model for each in run.models}]

    def rows(self, principal: Principal, run_id: EvaluationRunId, wanted: WantedRows) -> JudgedRows:
        """Rows with the answers of all models, losses first.

        Raises:
            EvaluationNotFound: see `get`.

        """
        with self._database.read() as connection:
            run = _find(connection, principal, run_id)
            model = usual_model(run) if wanted.model is None else wanted.model
            measure = wanted.measure or run.measures[0]
            scores = evaluation_rows.scores_of(connection, run_id)
            verdicts, own = judged(scores, len(run.models), model, measure)
            numbers = in_order(verdicts, own)
            if wanted.verdict is not None:
                numbers = [number for number in numbers if verdicts[number] is wanted.verdict]
            if wanted.search:
                numbers = list(_with_text(connection, run_id, numbers, wanted.search))
            window = numbers[wanted.start : wanted.start + min(wanted.count, MAX_WINDOW)]
            shown = evaluation_rows.answered_rows(connection, run_id, window)
        return JudgedRows(
            run=run,
            model=model,
            measure=measure,
            rows=tuple((each, verdicts[each.row.number]) for each in shown),
            total=len(numbers),
            verdicts=Counter(verdicts.values()),
        )

    def every_row(self, principal: Principal, run_id: EvaluationRunId) -> Iterator[AnsweredRow]:
        """All examples of a run with the answers so far, by number. Each part is read in a transaction of its own.

        Raises:
            EvaluationNotFound: see `get`.

        """
        with self._database.read() as connection:
            _find(connection, principal, run_id)
            numbers = sorted(row.number for row in evaluation_rows.rows_of(connection, run_id))
        for begin in range(0, len(numbers), MAX_WINDOW):
            with self._database.read() as connection:
                yield from evaluation_rows.answered_rows(connection, run_id, numbers[begin : begin + MAX_WINDOW])

    def stop(self, principal: Principal, run_id: EvaluationRunId) -> EvaluationRun:
        """Stop a run. One that waits ends at once, one that runs after the answers that are being written.

        A run that has ended stays as it is.

        Raises:
            EvaluationNotFound: see `get`.

        """
        now = self._clock()
        with self._database.write() as connection:
            run = _find(connection, principal, run_id)
            if run.state is RunState.QUEUED:
                evaluation_runs.end(connection, run_id, RunState.STOPPED, now)
            elif run.state is RunState.RUNNING:
                evaluation_runs.request_stop(connection, run_id)
            found = _find(connection, principal, run_id)
        self._stopped()
        return found

    def delete(self, principal: Principal, run_id: EvaluationRunId) -> None:
        """Delete a run with its examples and answers; one that runs ends.

        Raises:
            EvaluationNotFound: see `get`.

        """
        with self._database.write() as connection:
            _find(connection, principal, run_id)
            evaluation_runs.delete(connection, run_id)
        self._stopped()

    def seconds_left(self, run: EvaluationRun) -> float | None:
        """About how long the run still takes, from its answers so far; None: nobody knows."""
        done = sum(run.answered)
        if run.state is not RunState.RUNNING or run.start_time is None or not done:
            return None
        passed = max(run.update_time - run.start_time, timedelta()).total_seconds()
        return passed / done * run.answers_left


def usual_model(run: EvaluationRun) -> int:
    """The index of the model that is looked at unless the caller says which: the last tuned one, or else the last."""
    tuned = [index for index, model in enumerate(run.models) if model.tuned_model is not None]
    return tuned[-1] if tuned else len(run.models) - 1


def judged(
    scores: Mapping[int, Mapping[int, Mapping[Measure, float]]], models: int, model: int, measure: Measure
) -> tuple[dict[int, Verdict], dict[int, float]]:
    """The verdict of a model on each example that all models have answered, and its score, by number."""
    verdicts: dict[int, Verdict] = {}
    own: dict[int, float] = {}
    for number, of_models in scores.items():
        if len(of_models) == models:
            own[number] = of_models[model][measure]
            others = [each[measure] for index, each in of_models.items() if index != model]
            verdicts[number] = verdict_of(own[number], others)
    return verdicts, own


def _with_text(connection: Transaction, run_id: EvaluationRunId, numbers: Sequence[int], search: str) -> Iterator[int]:
    """Those of these numbers whose texts have the words, whatever their case. Few rows at a time are in memory."""
    sought = search.casefold()
    for begin in range(0, len(numbers), MAX_WINDOW):
        for each in evaluation_rows.answered_rows(connection, run_id, numbers[begin : begin + MAX_WINDOW]):
            texts = [turn.text for turn in each.row.prompt.turns] + [each.row.expected]
            texts += [answer.text for answer in each.answers.values()]
            if any(sought in text.casefold() for text in texts):
                yield each.row.number


def _find(connection: Transaction, principal: Principal, run_id: EvaluationRunId) -> EvaluationRun:
    found = evaluation_runs.find(connection, run_id)
    if found is None or found.owner != principal.email:
        raise EvaluationNotFound(run_id)
    return found
