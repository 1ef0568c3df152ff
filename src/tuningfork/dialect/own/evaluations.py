"""Evaluation runs: beginning them, watching them, and looking at their rows."""

import tempfile
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from typing import IO

from tuningfork.dialect.call import Binding, Direct, Download, Downloaded, MethodCall, translated_errors
from tuningfork.dialect.own.methods import OwnMethod
from tuningfork.domain.evaluation_run import EvaluationRunId
from tuningfork.service.evaluating.evaluations import Evaluations
from tuningfork.service.evaluating.reading import WantedRows
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query, render_empty
from tuningfork.wire.own import evaluation_rows, evaluation_runs

_ONE = "/evaluations/{evaluation:id}"
_PIECE_BYTES = 64 * 1024
_MEMORY_BYTES = 1024 * 1024


def _run_of(call: MethodCall) -> EvaluationRunId:
    return EvaluationRunId(call.path["evaluation"])


@dataclass(frozen=True, slots=True)
class EvaluationMethods:
    """Methods about evaluation runs, for their owners."""

    evaluations: Evaluations

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """Seven methods. Whoever polls a run or the list may send the tag of the last answer."""
        reads, changes = OwnMethod.READ_EVALUATIONS, OwnMethod.CHANGE_EVALUATIONS
        create = OwnMethod.CREATE_EVALUATION
        return (
            Binding("POST", "/evaluations", create, Direct(self.create), counted_as="create_evaluation"),
            Binding("GET", "/evaluations", reads, Direct(self.list), counted_as="list_evaluations", tagged=True),
            Binding("GET", _ONE, reads, Direct(self.get), counted_as="get_evaluation", tagged=True),
            Binding("GET", f"{_ONE}/rows", reads, Direct(self.rows), counted_as="evaluation_rows", tagged=True),
            Binding("GET", f"{_ONE}/csv", reads, Downloaded(self.csv), counted_as="evaluation_csv"),
            Binding("POST", f"{_ONE}:stop", changes, Direct(self.stop), counted_as="stop_evaluation"),
            Binding("DELETE", _ONE, changes, Direct(self.delete), counted_as="delete_evaluation"),
        )

    def create(self, call: MethodCall) -> Typed:
        """evaluations.create: begins a run. Of several requests with the same `requestId`, one begins a run."""
        refuse_query(call.query)
        asked = evaluation_runs.parse_create(call.body)
        with translated_errors(evaluation_runs.CREATE):
            run = self.evaluations.beginning.begin(call.principal, asked)
        return evaluation_runs.render_run(run, None)

    def list(self, call: MethodCall) -> Typed:
        """evaluations.list: the runs of the caller, the newest first; with `model` those that ask it."""
        model = evaluation_runs.parse_list(call.query)
        reading = self.evaluations.reading
        runs = reading.list(call.principal, model)
        return evaluation_runs.render_runs([(run, reading.seconds_left(run)) for run in runs])

    def get(self, call: MethodCall) -> Typed:
        """evaluations.get: a run with its progress and the scores so far."""
        refuse_query(call.query)
        run = self.evaluations.reading.get(call.principal, _run_of(call))
        return evaluation_runs.render_run(run, self.evaluations.reading.seconds_left(run))

    def rows(self, call: MethodCall) -> Typed:
        """evaluations.rows: examples with the answers of all models, those first that one model lost."""
        asked = evaluation_rows.parse_rows(call.query)
        run = self.evaluations.reading.get(call.principal, _run_of(call))
        if asked.measure is not None and asked.measure not in run.measures:
            raise evaluation_rows.measure_refused(run, asked.measure)
        wanted = WantedRows(
            model=evaluation_rows.index_of_model(run, asked.model),
            measure=asked.measure,
            verdict=asked.verdict,
            search=asked.search,
            start=asked.start,
            count=asked.count,
        )
        found = self.evaluations.reading.rows(call.principal, run.id, wanted)
        return evaluation_rows.render_rows(
            found.run,
            found.rows,
            total=found.total,
            verdicts=found.verdicts,
            model=found.model,
            measure=found.measure,
            cell_characters=asked.cell_characters,
        )

    def csv(self, call: MethodCall) -> Download:
        """evaluations.csv: all examples with the answers and scores so far."""
        refuse_query(call.query)
        run = self.evaluations.reading.get(call.principal, _run_of(call))
        return _download(
            run.id, evaluation_rows.csv_of(run, self.evaluations.reading.every_row(call.principal, run.id))
        )

    def stop(self, call: MethodCall) -> Typed:
        """evaluations.stop: ends a run; what was answered is kept."""
        refuse_query(call.query)
        return evaluation_runs.render_run(self.evaluations.reading.stop(call.principal, _run_of(call)), None)

    def delete(self, call: MethodCall) -> Typed:
        """evaluations.delete: removes a run with its examples and answers."""
        refuse_query(call.query)
        self.evaluations.reading.delete(call.principal, _run_of(call))
        return render_empty()


def _download(run_id: str, lines: Iterator[bytes]) -> Download:
    """The lines as a file, which is on the disk meanwhile if it is large."""
    file = tempfile.SpooledTemporaryFile(_MEMORY_BYTES)  # noqa: SIM115 - closed when it was sent
    try:
        file.writelines(lines)
        size = file.tell()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return Download(
        content_type="text/csv; charset=utf-8", filename=f"evaluation-{run_id}.csv", size=size, pieces=_pieces(file)
    )


async def _pieces(file: IO[bytes]) -> AsyncGenerator[bytes, None]:
    with file:
        while piece := file.read(_PIECE_BYTES):
            yield piece
