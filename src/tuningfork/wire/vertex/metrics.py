"""A job's metrics as an experiment with one run and a tensorboard, whose time series are the metrics.

Source: vertex-api section 7. Google's notebooks read them with the package google-cloud-aiplatform.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tuningfork.domain.errors import FieldViolation, NotFound
from tuningfork.domain.evaluation import Evaluation
from tuningfork.domain.tuned_model import ProjectLocation, TunedModel
from tuningfork.domain.tuning_job import Snapshot, TuningJob
from tuningfork.wire.google.proto_json.decode import decode_query
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.proto_json.scalars import shown
from tuningfork.wire.google.requests import refused
from tuningfork.wire.vertex import metrics_messages as messages
from tuningfork.wire.vertex.filters import Condition, parse_filter
from tuningfork.wire.vertex.names import (
    context_name,
    experiment_id,
    experiment_number,
    place_of_model,
    run_context_id,
    run_id,
    tensorboard_name,
)
from tuningfork.wire.vertex.packages import PACKAGES

EXPERIMENT_TITLE, RUN_TITLE = "system.Experiment", "system.ExperimentRun"
"""The schemas of contexts. Programs compare them."""
_SCHEMA_VERSION = "0.0.1"
_CONTEXT_FIELDS = ("schema_title", "parent_contexts", "display_name", "name", "create_time", "update_time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One value of a time series: after which step, when, and the value."""

    step: int
    time: datetime
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One metric of a job: the id of its time series, its name, and its values so far."""

    id: str
    name: str
    points: tuple[Point, ...]


def series_of(job: TuningJob, evaluations: Sequence[Evaluation]) -> tuple[Series, ...]:
    """The metrics of a job that have values, always under the same ids.

    Steps that an earlier version took have a loss only. Of preferences only losses are told, as on the hosted API.
    """
    over_preferences = job.hyperparameters.objective.over_preferences
    taken = [each for each in job.snapshots if each.targets]
    train = "/preference_optimization_train_loss" if over_preferences else "/train_total_loss"
    series = [
        _series("1", train, job.snapshots, [each.mean_loss for each in job.snapshots]),
        _series("4", "/eval_total_loss", evaluations, [each.mean_loss for each in evaluations]),
    ]
    if not over_preferences:
        series += [
            _series("2", "/train_fraction_of_correct_next_step_preds", taken, [_right_share(each) for each in taken]),
            _series("3", "/train_num_predictions", taken, [each.targets or 0 for each in taken]),
            _series(
                "5",
                "/eval_fraction_of_correct_next_step_preds",
                evaluations,
                [each.right_share for each in evaluations],
            ),
            _series("6", "/eval_num_predictions", evaluations, [each.targets for each in evaluations]),
        ]
    return tuple(sorted((each for each in series if each.points), key=lambda each: each.id))


def render_experiment(model: TunedModel, version: str) -> Typed:
    """The context of the experiment of the job that makes this model."""
    place = place_of_model(model)
    metadata = {
        "experiment_deleted": False,
        "backing_tensorboard_resource": tensorboard_name(place, model.number),
    }
    fields = _context(place, experiment_id(model.number), model) | {
        "display_name": experiment_id(model.number),
        "schema_title": EXPERIMENT_TITLE,
        "metadata": metadata,
    }
    return Typed(PACKAGES[version].message(messages.CONTEXT), fields)


def render_run_context(model: TunedModel, version: str) -> Typed:
    """The context of the run of that experiment."""
    place = place_of_model(model)
    fields = _context(place, run_context_id(model.number), model) | {
        "display_name": run_id(model.number),
        "schema_title": RUN_TITLE,
        "parent_contexts": [context_name(place, experiment_id(model.number))],
    }
    return Typed(PACKAGES[version].message(messages.CONTEXT), fields)


def _context(place: ProjectLocation, context: str, model: TunedModel) -> dict[str, Any]:
    return {
        "name": context_name(place, context),
        "schema_version": _SCHEMA_VERSION,
        "create_time": model.create_time,
        "update_time": model.update_time,
    }


def parse_list_contexts(
    query: Mapping[str, str], repeated: Mapping[str, tuple[str, ...]]
) -> tuple[int | None, tuple[Condition, ...]]:
    """The number of the experiment whose contexts a query asks for, and all conditions on them.

    None: it names an experiment that cannot be.

    Raises:
        InvalidArgument: a parameter is unknown, the filter cannot be read, or it names no experiment.

    """
    decoded = decode_query(messages.LIST_CONTEXTS_QUERY, query, repeated)
    request = "ListContextsRequest"
    conditions = tuple(
        condition for text in decoded.get("filter", ()) for condition in parse_filter(text, _CONTEXT_FIELDS, request)
    )
    named = [str(each.value) for each in conditions if each.field in ("parent_contexts", "name")]
    if not named:
        reason = 'filter must name an experiment: schema_title="system.ExperimentRun" AND parent_contexts:"NAME"'
        raise refused(request, (FieldViolation(field="filter", description=reason),))
    return experiment_number(named[0].rpartition("/")[2].partition("-tuning-run-")[0]), conditions


def context_values(context: Typed) -> Mapping[str, Any]:
    """What the filter of a list of contexts compares."""
    parents = " ".join(context.fields.get("parent_contexts", ()))
    return {**context.fields, "parent_contexts": parents}


def render_contexts(contexts: Sequence[Typed], version: str) -> Typed:
    """The only page of a list of contexts."""
    page = {"contexts": [each.fields for each in contexts]}
    return Typed(PACKAGES[version].message(messages.LIST_CONTEXTS_RESPONSE), page)


def render_tensorboard(model: TunedModel, version: str) -> Typed:
    """The tensorboard of a job."""
    fields = _timed(model) | {
        "name": tensorboard_name(place_of_model(model), model.number),
        "display_name": model.display_name or experiment_id(model.number),
        "run_count": 1,
    }
    return Typed(PACKAGES[version].message(messages.TENSORBOARD), fields)


def render_tensorboard_experiment(model: TunedModel, version: str) -> Typed:
    """The only experiment in a job's tensorboard."""
    fields = _timed(model) | {"name": _experiment(model), "display_name": experiment_id(model.number)}
    return Typed(PACKAGES[version].message(messages.TENSORBOARD_EXPERIMENT), fields)


def render_run(model: TunedModel, version: str) -> Typed:
    """The only run of that experiment."""
    fields = _timed(model) | {"name": _run(model), "display_name": run_id(model.number)}
    return Typed(PACKAGES[version].message(messages.TENSORBOARD_RUN), fields)


def render_runs(model: TunedModel, version: str) -> Typed:
    """The list of that run."""
    page = {"tensorboard_runs": [render_run(model, version).fields]}
    return Typed(PACKAGES[version].message(messages.LIST_RUNS_RESPONSE), page)


def check_list(query: Mapping[str, str], repeated: Mapping[str, tuple[str, ...]]) -> None:
    """Check the parameters of a list that has one page.

    Raises:
        InvalidArgument: a parameter is unknown.

    """
    decode_query(messages.LIST_QUERY, query, repeated)


def render_series(model: TunedModel, each: Series, version: str) -> Typed:
    """One time series, without its values."""
    return Typed(PACKAGES[version].message(messages.TENSORBOARD_TIME_SERIES), _one(model, each))


def render_all_series(model: TunedModel, series: Sequence[Series], version: str) -> Typed:
    """The only page of the list of a run's time series."""
    page = {"tensorboard_time_series": [_one(model, each) for each in series]}
    return Typed(PACKAGES[version].message(messages.LIST_TIME_SERIES_RESPONSE), page)


def parse_batch_read(
    query: Mapping[str, str], repeated: Mapping[str, tuple[str, ...]], model: TunedModel
) -> tuple[str, ...]:
    """The ids of the time series that a query names, of the run of this model's job.

    Raises:
        InvalidArgument: a parameter is unknown, or a name is none of a time series of this tensorboard.

    """
    names = decode_query(messages.BATCH_READ_QUERY, query, repeated).get("time_series", [])
    prefix = f"{_run(model)}/timeSeries/"
    foreign = [name for name in names if not name.startswith(prefix)]
    if foreign or not names:
        given = f"; {shown(foreign[0])} was given" if foreign else ""
        reason = f"time_series must be the names of time series of this tensorboard, such as {prefix}1{given}"
        request = messages.BATCH_READ_QUERY.full_name
        raise refused(request, (FieldViolation(field="time_series", description=reason),))
    return tuple(name.removeprefix(prefix) for name in names)


def render_batch(series: Sequence[Series], version: str) -> Typed:
    """The values of several time series."""
    return Typed(
        PACKAGES[version].message(messages.BATCH_READ_RESPONSE), {"time_series_data": list(map(_data, series))}
    )


def check_read(query: Mapping[str, str], repeated: Mapping[str, tuple[str, ...]]) -> None:
    """Check the parameters of reading one time series.

    Raises:
        InvalidArgument: a parameter is unknown.

    """
    decode_query(messages.READ_QUERY, query, repeated)


def render_data(each: Series, version: str) -> Typed:
    """The values of one time series."""
    return Typed(PACKAGES[version].message(messages.READ_RESPONSE), {"time_series_data": _data(each)})


def named_series(series: Sequence[Series], ids: Sequence[str]) -> Iterator[Series]:
    """The series with these ids, in their order.

    Raises:
        NotFound: there is none of one of them, or none yet.

    """
    known = {each.id: each for each in series}
    for each in ids:
        if each not in known:
            raise NotFound(f"There is no time series {shown(each)}, or it has no values yet.")
        yield known[each]


def _series(id: str, name: str, taken: Sequence[Snapshot | Evaluation], values: Sequence[float]) -> Series:  # noqa: A002
    points = tuple(
        Point(step=each.step, time=each.compute_time, value=value) for each, value in zip(taken, values, strict=True)
    )
    return Series(id=id, name=name, points=points)


def _right_share(snapshot: Snapshot) -> float:
    return (snapshot.right_targets or 0) / (snapshot.targets or 1)


def _timed(model: TunedModel) -> dict[str, Any]:
    return {"create_time": model.create_time, "update_time": model.update_time}


def _experiment(model: TunedModel) -> str:
    tensorboard = tensorboard_name(place_of_model(model), model.number)
    return f"{tensorboard}/experiments/{experiment_id(model.number)}"


def _run(model: TunedModel) -> str:
    return f"{_experiment(model)}/runs/{run_id(model.number)}"


def _one(model: TunedModel, each: Series) -> dict[str, Any]:
    first, last = each.points[0], each.points[-1]
    return {
        "name": f"{_run(model)}/timeSeries/{each.id}",
        "display_name": each.name,
        "value_type": "SCALAR",
        "create_time": first.time,
        "update_time": last.time,
        "plugin_name": "scalars",
        "metadata": {"max_step": last.step, "max_wall_time": last.time},
    }


def _data(each: Series) -> dict[str, Any]:
    values = [
        {"wall_time": point.time, "step": point.step, "scalar": {"value": float(point.value)}} for point in each.points
    ]
    return {"tensorboard_time_series_id": each.id, "value_type": "SCALAR", "values": values}


def is_experiment_of(model: TunedModel, experiment: str, run: str = "") -> bool:
    """Whether these are the ids of the experiment of this model's job, and of its run if one is given."""
    return experiment == experiment_id(model.number) and run in ("", run_id(model.number))
