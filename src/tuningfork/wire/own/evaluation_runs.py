"""Evaluation runs: parses requests for them, and renders them with their scores."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from tuningfork.domain.answer_scores import Measure
from tuningfork.domain.errors import FieldViolation, Reason
from tuningfork.domain.evaluation_run import AnswerSettings, EvaluationRequest, EvaluationRun
from tuningfork.domain.references import CheckpointRef, ModelRef, TunedRef
from tuningfork.domain.score_intervals import Interval
from tuningfork.domain.staged_dataset import StagedDatasetId
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.wire.gemini.names import BASE_PREFIX, base_ref, name_of, tuned_id, tuned_name
from tuningfork.wire.google.proto_json.decode import Fields, decode, decode_query
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message, Rule
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.proto_json.text import read
from tuningfork.wire.google.requests import RequestWords, refused
from tuningfork.wire.own.datasets import dataset_name

_PACKAGE = "tuningfork.v1"
Parsed = TypeVar("Parsed")

CREATE = RequestWords("CreateEvaluationRunRequest")

CREATE_RUN = Message(
    f"{_PACKAGE}.CreateEvaluationRunRequest",
    (
        Field(1, "display_name", Kind.STRING),
        # `models/{id}`, `tunedModels/{id}` or `tunedModels/{id}/checkpoints/{number}`.
        Field(2, "models", Kind.STRING, repeated=True),
        # `datasets/{id}`.
        Field(3, "dataset", Kind.STRING),
        # `tunedModels/{id}`: the examples that its job kept back.
        Field(4, "kept_back_by", Kind.STRING),
        Field(5, "measures", Kind.STRING, repeated=True),
        Field(6, "max_examples", Kind.INT32, presence=True),
        Field(7, "temperature", Kind.DOUBLE, presence=True),
        # Each model's own temperature, instead of 0.
        Field(8, "own_temperature", Kind.BOOL),
        Field(9, "max_output_tokens", Kind.INT32, presence=True),
        Field(10, "request_id", Kind.STRING),
    ),
)
SOURCE = Message(
    f"{_PACKAGE}.EvaluationRun.Source",
    (
        Field(1, "dataset", Kind.STRING),
        Field(2, "kept_back_by", Kind.STRING),
        Field(3, "display_name", Kind.STRING),
        Field(4, "row_count", Kind.INT32),
    ),
)
MODEL = Message(
    f"{_PACKAGE}.EvaluationRun.Model",
    (
        Field(1, "name", Kind.STRING),
        Field(2, "display_name", Kind.STRING),
        Field(3, "answer_count", Kind.INT32, presence=True),
        Field(4, "leak_check", Kind.STRING),
        Field(5, "leaked_example_count", Kind.INT32, presence=True),
    ),
)
SCORE = Message(
    f"{_PACKAGE}.EvaluationRun.Score",
    (
        Field(1, "model", Kind.STRING),
        Field(2, "measure", Kind.STRING),
        Field(3, "mean", Kind.DOUBLE, presence=True),
        Field(4, "low", Kind.DOUBLE, presence=True),
        Field(5, "high", Kind.DOUBLE, presence=True),
    ),
)
DIFFERENCE = Message(
    f"{_PACKAGE}.EvaluationRun.Difference",
    (
        Field(1, "first_model", Kind.STRING),
        Field(2, "second_model", Kind.STRING),
        Field(3, "measure", Kind.STRING),
        # The first model's score minus the second's.
        Field(4, "mean", Kind.DOUBLE, presence=True),
        Field(5, "low", Kind.DOUBLE, presence=True),
        Field(6, "high", Kind.DOUBLE, presence=True),
        Field(7, "differing_example_count", Kind.INT32, presence=True),
        # Whether there are enough examples to tell the two apart.
        Field(8, "clear", Kind.BOOL, presence=True),
    ),
)
RUN = Message(
    f"{_PACKAGE}.EvaluationRun",
    (
        Field(1, "name", Kind.STRING, rule=Rule.OUTPUT_ONLY),
        Field(2, "display_name", Kind.STRING),
        Field(3, "state", Kind.STRING),
        Field(4, "stop_requested", Kind.BOOL),
        Field(5, "source", SOURCE),
        Field(6, "models", MODEL, repeated=True),
        Field(7, "measures", Kind.STRING, repeated=True),
        # Not there: each model's own.
        Field(8, "temperature", Kind.DOUBLE, presence=True),
        Field(9, "max_output_tokens", Kind.INT32, presence=True),
        Field(10, "example_count", Kind.INT32),
        # Of all models together.
        Field(11, "answer_count", Kind.INT32, presence=True),
        Field(12, "total_answer_count", Kind.INT32),
        Field(13, "seconds_left", Kind.DOUBLE, presence=True),
        # How many examples the scores are over: those that all models had answered.
        Field(14, "scored_example_count", Kind.INT32, presence=True),
        Field(15, "scores", SCORE, repeated=True),
        Field(16, "differences", DIFFERENCE, repeated=True),
        Field(17, "error", Kind.STRING),
        Field(18, "create_time", Kind.TIMESTAMP),
        Field(19, "start_time", Kind.TIMESTAMP),
        Field(20, "update_time", Kind.TIMESTAMP),
        Field(21, "complete_time", Kind.TIMESTAMP),
    ),
)
RUNS = Message(f"{_PACKAGE}.ListEvaluationRunsResponse", (Field(1, "evaluations", RUN, repeated=True),))
# `tunedModels/{id}`; "": of all models.
RUNS_QUERY = Message(f"{_PACKAGE}.ListEvaluationRunsRequest", (Field(1, "model", Kind.STRING),))
STOP = Message(f"{_PACKAGE}.StopEvaluationRunRequest", ())

_CHECKPOINT = re.compile(r"(tunedModels/[a-z0-9-]{1,63})/checkpoints/([0-9]{1,9})")
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def parse_create(body: bytes) -> EvaluationRequest:
    """The run that a caller asks for.

    Raises:
        InvalidArgument: the body is malformed, or a name or a measure in it.

    """
    fields = decode(CREATE_RUN, read(body))
    found: list[FieldViolation] = []
    models = tuple(_parsed(found, f"models[{at}]", _model, name) for at, name in enumerate(fields.get("models", ())))
    measures = tuple(
        _parsed(found, f"measures[{at}]", parse_measure, name) for at, name in enumerate(fields.get("measures", ()))
    )
    dataset = _parsed(found, "dataset", _dataset, fields["dataset"]) if fields.get("dataset") else None
    kept_back_by = (
        _parsed(found, "kept_back_by", _tuned, fields["kept_back_by"]) if fields.get("kept_back_by") else None
    )
    request_id = fields.get("request_id", "")
    if request_id and not _REQUEST_ID.fullmatch(request_id):
        described = (
            f"request_id must have 1 to 64 letters, digits, dashes or underscores; {request_id[:80]!r} was given"
        )
        found.append(FieldViolation(field="request_id", description=described))
    if fields.get("own_temperature") and "temperature" in fields:
        described = "give either temperature or own_temperature"
        found.append(FieldViolation(field="own_temperature", description=described))
    if found:
        raise refused(CREATE.request, tuple(found))
    return EvaluationRequest(
        models=tuple(each for each in models if each is not None),
        dataset=dataset,
        kept_back_by=kept_back_by,
        measures=tuple(each for each in measures if each is not None),
        max_examples=fields.get("max_examples"),
        settings=_settings(fields),
        display_name=fields.get("display_name", ""),
        request_id=request_id,
    )


def parse_list(query: Mapping[str, str]) -> TunedModelId | None:
    """The tuned model whose runs a caller wants; None: all runs.

    Raises:
        InvalidArgument: a parameter is unknown, or the name is none of a tuned model.

    """
    name = decode_query(RUNS_QUERY, query).get("model", "")
    found: list[FieldViolation] = []
    model = _parsed(found, "model", _tuned, name) if name else None
    if found:
        raise refused("ListEvaluationRunsRequest", tuple(found))
    return model


def parse_measure(name: str) -> Measure:
    """The measure with this name.

    Raises:
        ValueError: there is none; the message says which there are.

    """
    if name not in set(Measure):
        raise ValueError(f"must be one of {', '.join(Measure)}; {name[:40]!a} was given")
    return Measure(name)


def model_name(ref: ModelRef) -> str:
    """The name of a model, with its checkpoint's number if one is meant."""
    match ref:
        case CheckpointRef(model, number):
            return f"{tuned_name(model)}/checkpoints/{number}"
        case _:
            return name_of(ref)


def render_run(run: EvaluationRun, seconds_left: float | None) -> Typed:
    """A run with its scores; `seconds_left` None: nobody knows."""
    return Typed(RUN, fields_of(run, seconds_left))


def render_runs(runs: Sequence[tuple[EvaluationRun, float | None]]) -> Typed:
    """Runs, each with how long it still takes."""
    return Typed(RUNS, {"evaluations": [fields_of(run, seconds) for run, seconds in runs]})


def fields_of(run: EvaluationRun, seconds_left: float | None) -> dict[str, Any]:
    """The fields of a run."""
    source, settings = run.source, run.settings
    names = [model_name(model.ref) for model in run.models]
    return {
        "name": f"evaluations/{run.id}",
        "display_name": run.display_name,
        "state": run.state.value,
        "stop_requested": run.stop_requested and not run.state.is_final,
        "source": {
            "dataset": dataset_name(source.dataset) if source.dataset else "",
            "kept_back_by": tuned_name(source.kept_back_by) if source.kept_back_by else "",
            "display_name": source.display_name,
            "row_count": source.row_count,
        },
        "models": [
            {
                "name": names[index],
                "display_name": model.display_name,
                "answer_count": run.answered[index],
                "leak_check": model.leak_check.value,
                "leaked_example_count": model.leaked,
            }
            for index, model in enumerate(run.models)
        ],
        "measures": [measure.value for measure in run.measures],
        "temperature": settings.temperature,
        "max_output_tokens": settings.max_output_tokens,
        "example_count": run.example_count,
        "answer_count": sum(run.answered),
        "total_answer_count": run.example_count * len(run.models),
        "seconds_left": None if seconds_left is None else round(seconds_left, 1),
        "scored_example_count": None if run.summary is None else run.summary.example_count,
        "scores": list(_scores(run, names)),
        "differences": list(_differences(run, names)),
        "error": run.error,
        "create_time": run.create_time,
        "start_time": run.start_time,
        "update_time": run.update_time,
        "complete_time": run.complete_time,
    }


def _scores(run: EvaluationRun, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    for name, means in zip(names, run.summary.means if run.summary else (), strict=False):
        for measure, interval in means.items():
            yield {"model": name, "measure": measure.value, **_bounds(interval)}


def _differences(run: EvaluationRun, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    for each in run.summary.differences if run.summary else ():
        yield {
            "first_model": names[each.first],
            "second_model": names[each.second],
            "measure": each.measure.value,
            **_bounds(each.interval),
            "differing_example_count": each.differing,
            "clear": each.is_clear,
        }


def _bounds(interval: Interval) -> dict[str, float]:
    # Four digits: a hundredth of a per cent, of which a thousand examples tell the first two.
    return {"mean": round(interval.mean, 4), "low": round(interval.low, 4), "high": round(interval.high, 4)}


def _settings(fields: Fields) -> AnswerSettings:
    temperature = None if fields.get("own_temperature") else fields.get("temperature", 0.0)
    return AnswerSettings(temperature=temperature, max_output_tokens=fields.get("max_output_tokens"))


def _parsed(found: list[FieldViolation], field: str, parse: Callable[[str], Parsed], text: str) -> Parsed | None:
    try:
        return parse(text)
    except ValueError as error:
        found.append(FieldViolation(field=field, description=f"{field} {error}", reason=Reason.MALFORMED))
        return None


def _model(name: str) -> ModelRef:
    if name.startswith(BASE_PREFIX):
        return base_ref(name.removeprefix(BASE_PREFIX))
    if checkpoint := _CHECKPOINT.fullmatch(name):
        return CheckpointRef(_tuned(checkpoint[1]), int(checkpoint[2]))
    if (model := tuned_id(name)) is not None:
        return TunedRef(model)
    forms = "models/{id}, tunedModels/{id} or tunedModels/{id}/checkpoints/{number}"
    raise ValueError(f"must be the name of a model, {forms}; {name[:80]!a} was given")


def _tuned(name: str) -> TunedModelId:
    if (model := tuned_id(name)) is None:
        raise ValueError(f"must be the name of a tuned model, tunedModels/{{id}}; {name[:80]!a} was given")
    return model


def _dataset(name: str) -> StagedDatasetId:
    prefix, _, dataset = name.partition("/")
    if prefix != "datasets" or not dataset:
        raise ValueError(f"must be the name of a dataset, datasets/{{id}}; {name[:80]!a} was given")
    return StagedDatasetId(dataset)
