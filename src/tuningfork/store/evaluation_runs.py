"""The table of evaluation runs, and which server holds which running one, as `store/leases.py` does for jobs."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, func, select
from sqlalchemy.exc import IntegrityError

from tuningfork.domain.answer_scores import Measure
from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.errors import AlreadyExists
from tuningfork.domain.evaluation_run import (
    AnswerSettings,
    DataSource,
    EvaluatedModel,
    EvaluationRun,
    EvaluationRunId,
    LeakCheck,
    RunState,
)
from tuningfork.domain.permission import Email
from tuningfork.domain.references import BaseRef, CheckpointRef, ModelRef, TunedRef
from tuningfork.domain.score_intervals import Difference, Interval, ScoreSummary
from tuningfork.domain.staged_dataset import StagedDatasetId
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.store.evaluation_tables import evaluation_answers, evaluation_runs
from tuningfork.store.leases import ServerId

_COLUMNS = evaluation_runs.c
_UNFINISHED = (RunState.QUEUED.value, RunState.RUNNING.value)


class RunRequested(AlreadyExists):
    """Another request of this id has made a run."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"another request with the id {request_id} is beginning an evaluation; send it again")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunClaim:
    """The right to work on one running run. `number` counts how often servers have taken it."""

    run_id: EvaluationRunId
    server: ServerId
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLease:
    """A claim as it is in the database, and how often its holder has renewed it."""

    claim: RunClaim
    renewals: int


def insert(connection: Connection, run: EvaluationRun, request_id: str) -> None:
    """Add a run. `request_id` "": its request had none.

    Raises:
        RunRequested: another request of this id has made one.

    """
    held = {"held_by": None, "claim_number": 0, "lease_renewals": 0, "request_id": request_id or None}
    try:
        connection.execute(evaluation_runs.insert(), {**_row(run), **held})
    except IntegrityError as error:
        raise RunRequested(request_id) from error


def find(connection: Connection, run_id: EvaluationRunId) -> EvaluationRun | None:
    """The run with this id; None: there is none."""
    return next(iter(_read(connection, select(evaluation_runs).where(_COLUMNS.id == run_id))), None)


def find_requested(connection: Connection, owner: Email, request_id: str) -> EvaluationRun | None:
    """The run that an owner's request of this id has made; None: there is none."""
    query = select(evaluation_runs).where(_COLUMNS.owner == owner, _COLUMNS.request_id == request_id)
    return next(iter(_read(connection, query)), None)


def of_owner(connection: Connection, owner: Email) -> Sequence[EvaluationRun]:
    """All runs of an owner, the newest first."""
    query = select(evaluation_runs).where(_COLUMNS.owner == owner)
    return _read(connection, query.order_by(_COLUMNS.create_time.desc(), _COLUMNS.id))


def count(connection: Connection, owner: Email) -> tuple[int, int]:
    """How many runs an owner has, and how many of them have not ended."""
    query = select(_COLUMNS.state, func.count().label("number")).where(_COLUMNS.owner == owner).group_by(_COLUMNS.state)
    found = {row.state: row.number for row in connection.execute(query)}
    return sum(found.values()), sum(found.get(state, 0) for state in _UNFINISHED)


def update(connection: Connection, run: EvaluationRun) -> None:
    """Write a run's state, times, names and summary. Whether it is to be stopped stays, and who holds it."""
    row = {name: value for name, value in _row(run).items() if name not in ("id", "owner", "stop_requested")}
    connection.execute(evaluation_runs.update().where(_COLUMNS.id == run.id).values(row))


def end(
    connection: Connection, run_id: EvaluationRunId, state: RunState, now: datetime, summary: ScoreSummary | None = None
) -> None:
    """Note that a run has ended; `summary` None: that of before stays."""
    values: dict[str, Any] = {"state": state.value, "complete_time": now, "update_time": now, "held_by": None}
    if summary is not None:
        values["summary"] = _summary_fields(summary)
    connection.execute(evaluation_runs.update().where(_COLUMNS.id == run_id).values(values))


def request_stop(connection: Connection, run_id: EvaluationRunId) -> None:
    """Note that a run's owner wants it to stop."""
    connection.execute(evaluation_runs.update().where(_COLUMNS.id == run_id).values(stop_requested=True))


def delete(connection: Connection, run_id: EvaluationRunId) -> None:
    """Delete a run with its examples and answers."""
    connection.execute(evaluation_runs.delete().where(_COLUMNS.id == run_id))


def next_queued(connection: Connection, besides: Collection[Email]) -> EvaluationRunId | None:
    """The run that has waited longest, of owners who have none running here or elsewhere; None: there is none.

    `besides` are owners whose runs are not wanted.
    """
    busy = select(_COLUMNS.owner).where(_COLUMNS.state == RunState.RUNNING.value)
    query = select(_COLUMNS.id).where(_COLUMNS.state == RunState.QUEUED.value, _COLUMNS.owner.not_in(busy))
    query = query.where(_COLUMNS.owner.not_in([*besides])).order_by(_COLUMNS.create_time, _COLUMNS.id).limit(1)
    found = connection.execute(query).scalar()
    return None if found is None else EvaluationRunId(found)


def take(connection: Connection, run_id: EvaluationRunId, server: ServerId, now: datetime) -> RunClaim | None:
    """Make the server the holder of a run that waits; None: it does not wait any more."""
    is_queued = and_(_COLUMNS.id == run_id, _COLUMNS.state == RunState.QUEUED.value)
    values = {
        "state": RunState.RUNNING.value,
        "held_by": server,
        "claim_number": _COLUMNS.claim_number + 1,
        "lease_renewals": 0,
        "start_time": func.coalesce(_COLUMNS.start_time, now),
        "update_time": now,
    }
    if not connection.execute(evaluation_runs.update().where(is_queued).values(values)).rowcount:
        return None
    number = connection.execute(select(_COLUMNS.claim_number).where(_COLUMNS.id == run_id)).scalar_one()
    return RunClaim(run_id=run_id, server=server, number=number)


def hold(connection: Connection, claim: RunClaim) -> EvaluationRun | None:
    """The run if the claim is still valid, locked until this transaction ends; else None."""
    query = select(evaluation_runs).where(_is_held(claim)).with_for_update()
    return next(iter(_read(connection, query)), None)


def give_back(connection: Connection, claim: RunClaim) -> bool:
    """Let a run wait again whose claim is still valid; returns whether it is."""
    change = evaluation_runs.update().where(_is_held(claim))
    return bool(connection.execute(change.values(state=RunState.QUEUED.value, held_by=None)).rowcount)


def renew(connection: Connection, claims: Collection[RunClaim]) -> None:
    """Renew the leases of these claims; lost ones are ignored."""
    for claim in claims:
        change = evaluation_runs.update().where(_is_held(claim))
        connection.execute(change.values(lease_renewals=_COLUMNS.lease_renewals + 1))


def leases(connection: Connection) -> list[RunLease]:
    """The leases of all running runs."""
    query = select(_COLUMNS.id, _COLUMNS.held_by, _COLUMNS.claim_number, _COLUMNS.lease_renewals)
    return [
        RunLease(
            claim=RunClaim(run_id=EvaluationRunId(row.id), server=ServerId(row.held_by), number=row.claim_number),
            renewals=row.lease_renewals,
        )
        for row in connection.execute(query.where(_COLUMNS.state == RunState.RUNNING.value).order_by(_COLUMNS.id))
    ]


def _is_held(claim: RunClaim) -> ColumnElement[bool]:
    return and_(
        _COLUMNS.id == claim.run_id,
        _COLUMNS.state == RunState.RUNNING.value,
        _COLUMNS.held_by == claim.server,
        _COLUMNS.claim_number == claim.number,
    )


def _read(connection: Connection, query: Select[Any]) -> list[EvaluationRun]:
    rows = connection.execute(query).mappings().all()
    answers = evaluation_answers.c
    counting = select(answers.run_id, answers.model, func.count()).where(
        answers.run_id.in_([row["id"] for row in rows])
    )
    counted = Counter[tuple[str, int]]()
    for run_id, model, number in connection.execute(counting.group_by(answers.run_id, answers.model)):
        counted[run_id, model] = number
    found = [_run(row) for row in rows]
    return [replace(run, answered=tuple(counted[run.id, index] for index in range(len(run.models)))) for run in found]


def _row(run: EvaluationRun) -> dict[str, Any]:
    about = {
        "project": run.project,
        "credential": run.credential,
        "display_name": run.display_name,
        "source": {
            "dataset": run.source.dataset,
            "kept_back_by": run.source.kept_back_by,
            "display_name": run.source.display_name,
            "row_count": run.source.row_count,
        },
        "models": [
            {
                "ref": _ref_fields(model.ref),
                "display_name": model.display_name,
                "leak_check": model.leak_check.value,
                "leaked": model.leaked,
            }
            for model in run.models
        ],
        "measures": [measure.value for measure in run.measures],
        "settings": {"temperature": run.settings.temperature, "max_output_tokens": run.settings.max_output_tokens},
        "error": run.error,
    }
    return {
        "id": run.id,
        "owner": run.owner,
        "state": run.state.value,
        "stop_requested": run.stop_requested,
        "create_time": run.create_time,
        "start_time": run.start_time,
        "update_time": run.update_time,
        "complete_time": run.complete_time,
        "example_count": run.example_count,
        "about": about,
        "summary": None if run.summary is None else _summary_fields(run.summary),
    }


def _run(row: RowMapping) -> EvaluationRun:
    about: Mapping[str, Any] = row["about"]
    source, settings = about["source"], about["settings"]
    return EvaluationRun(
        id=EvaluationRunId(row["id"]),
        owner=Email(row["owner"]),
        project=about["project"],
        credential=about["credential"],
        display_name=about["display_name"],
        state=RunState(row["state"]),
        source=DataSource(
            dataset=None if source["dataset"] is None else StagedDatasetId(source["dataset"]),
            kept_back_by=None if source["kept_back_by"] is None else TunedModelId(source["kept_back_by"]),
            display_name=source["display_name"],
            row_count=source["row_count"],
        ),
        models=tuple(
            EvaluatedModel(
                ref=_ref(each["ref"]),
                display_name=each["display_name"],
                leak_check=LeakCheck(each["leak_check"]),
                leaked=each["leaked"],
            )
            for each in about["models"]
        ),
        measures=tuple(Measure(each) for each in about["measures"]),
        settings=AnswerSettings(**settings),
        example_count=row["example_count"],
        create_time=row["create_time"],
        start_time=row["start_time"],
        update_time=row["update_time"],
        complete_time=row["complete_time"],
        stop_requested=row["stop_requested"],
        summary=None if row["summary"] is None else _summary(row["summary"]),
        error=about["error"],
    )


def _ref_fields(ref: ModelRef) -> dict[str, Any]:
    match ref:
        case BaseRef(name):
            return {"base": name}
        case TunedRef(model):
            return {"tuned": model}
        case CheckpointRef(model, number):
            return {"tuned": model, "checkpoint": number}


def _ref(fields: Mapping[str, Any]) -> ModelRef:
    if "base" in fields:
        return BaseRef(BaseModelName(fields["base"]))
    model = TunedModelId(fields["tuned"])
    return CheckpointRef(model, fields["checkpoint"]) if "checkpoint" in fields else TunedRef(model)


def _summary_fields(summary: ScoreSummary) -> dict[str, Any]:
    return {
        "example_count": summary.example_count,
        "means": [{measure.value: _bounds(each) for measure, each in of.items()} for of in summary.means],
        "differences": [
            [each.first, each.second, each.measure.value, *_bounds(each.interval), each.differing]
            for each in summary.differences
        ],
    }


def _bounds(interval: Interval) -> list[float]:
    return [interval.mean, interval.low, interval.high]


def _summary(fields: Mapping[str, Any]) -> ScoreSummary:
    return ScoreSummary(
        example_count=fields["example_count"],
        means=tuple({Measure(name): _interval(*of) for name, of in each.items()} for each in fields["means"]),
        differences=tuple(
            Difference(
                first=first,
                second=second,
                measure=Measure(measure),
                interval=_interval(mean, low, high),
                differing=differing,
            )
            for first, second, measure, mean, low, high, differing in fields["differences"]
        ),
    )


def _interval(mean: float, low: float, high: float) -> Interval:
    return Interval(mean=mean, low=low, high=high)
