"""Renders evaluations and checkpoints, and parses the choice of a default checkpoint."""

from collections.abc import Mapping, Sequence
from typing import Any

from tuningfork.domain.checkpoint import Checkpoint
from tuningfork.domain.errors import FieldViolation
from tuningfork.domain.evaluation import Evaluation
from tuningfork.domain.tuned_model import TunedModel
from tuningfork.domain.tuning_job import TuningJob
from tuningfork.wire.gemini.names import tuned_name
from tuningfork.wire.google.proto_json.decode import decode, decode_query
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.proto_json.text import read
from tuningfork.wire.google.requests import RequestWords, refused

_PACKAGE = "tuningfork.v1"

USE = RequestWords("UseCheckpointRequest")
"""The request's part of errors about the choice of a checkpoint."""

LIST = RequestWords("ListEvaluationsRequest", sentences=False)
"""The request's part of errors about a page of evaluations."""

EVALUATION = Message(
    f"{_PACKAGE}.Evaluation",
    (
        Field(1, "step", Kind.INT32, presence=True),
        Field(2, "epoch", Kind.INT32, presence=True),
        Field(3, "mean_loss", Kind.DOUBLE, presence=True),
        Field(4, "target_count", Kind.INT64),
        Field(5, "right_target_count", Kind.INT64, presence=True),
        Field(6, "compute_time", Kind.TIMESTAMP),
    ),
)
EVALUATIONS = Message(
    f"{_PACKAGE}.ListEvaluationsResponse",
    (
        Field(1, "evaluations", EVALUATION, repeated=True),
        Field(2, "next_page_token", Kind.STRING),
        Field(3, "tuned_model", Kind.STRING),
        Field(4, "example_count", Kind.INT64),
        Field(5, "validation_example_count", Kind.INT64),
        Field(6, "evaluate_every", Kind.INT32),
        Field(7, "best", EVALUATION),
        Field(8, "stopped_early", Kind.STRING),
    ),
)
EVALUATIONS_QUERY = Message(
    f"{_PACKAGE}.ListEvaluationsRequest",
    (Field(1, "page_size", Kind.INT32), Field(2, "page_token", Kind.STRING)),
)
CHECKPOINT = Message(
    f"{_PACKAGE}.Checkpoint",
    (
        Field(1, "number", Kind.INT32),
        Field(2, "step", Kind.INT32, presence=True),
        Field(3, "epoch", Kind.INT32, presence=True),
        Field(4, "default", Kind.BOOL),
        Field(5, "mean_loss", Kind.DOUBLE, presence=True),
        Field(6, "evaluation", EVALUATION),
    ),
)
CHECKPOINTS = Message(
    f"{_PACKAGE}.ListCheckpointsResponse",
    (Field(1, "checkpoints", CHECKPOINT, repeated=True), Field(2, "tuned_model", Kind.STRING)),
)
USE_CHECKPOINT = Message(f"{_PACKAGE}.UseCheckpointRequest", (Field(1, "checkpoint", Kind.INT32, presence=True),))


def parse_list(query: Mapping[str, str]) -> tuple[int | None, str]:
    """The size and the token of the page that a query asks for.

    Raises:
        InvalidArgument: a parameter is unknown or malformed.

    """
    fields = decode_query(EVALUATIONS_QUERY, query)
    return fields.get("page_size"), fields.get("page_token", "")


def parse_use(body: bytes) -> int:
    """The number of the checkpoint that is to be the default.

    Raises:
        InvalidArgument: the body is not JSON, has an unknown field, or has no number.

    """
    number: int | None = decode(USE_CHECKPOINT, read(body)).get("checkpoint")
    if number is None:
        described = "checkpoint is missing; give the number of one of the model's checkpoints"
        raise refused(USE.request, (FieldViolation(field="checkpoint", description=described),))
    return number


def render_evaluations(
    job: TuningJob,
    evaluations: Sequence[Evaluation],
    next_page_token: str,
    *,
    best: Evaluation | None,
    stopped_early: str,
) -> Typed:
    """A page of evaluations, with what is true of all of them.

    `best` is the best evaluation so far; None: there is none. `stopped_early` says why the job has stopped before its
    last step; "": it has not.
    """
    fields: dict[str, Any] = {
        "evaluations": [_evaluation(each) for each in evaluations],
        "next_page_token": next_page_token,
        "tuned_model": tuned_name(job.model_id),
        "example_count": job.example_count,
        "validation_example_count": job.validation_count,
        "evaluate_every": job.evaluate_every,
        "best": None if best is None else _evaluation(best),
        "stopped_early": stopped_early,
    }
    return Typed(EVALUATIONS, fields)


def render_checkpoints(model: TunedModel, kept: Sequence[tuple[Checkpoint, Evaluation | None]]) -> Typed:
    """The checkpoints of a model, each with the evaluation of its step, if there is one."""
    checkpoints = [
        {
            "number": checkpoint.number,
            "step": checkpoint.step,
            "epoch": checkpoint.epoch,
            "default": checkpoint.number == model.default_checkpoint,
            "mean_loss": checkpoint.metrics.get("mean_loss"),
            "evaluation": None if evaluation is None else _evaluation(evaluation),
        }
        for checkpoint, evaluation in kept
    ]
    return Typed(CHECKPOINTS, {"checkpoints": checkpoints, "tuned_model": tuned_name(model.id)})


def _evaluation(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "step": evaluation.step,
        "epoch": evaluation.epoch,
        "mean_loss": evaluation.mean_loss,
        "target_count": evaluation.targets,
        "right_target_count": evaluation.right_targets,
        "compute_time": evaluation.compute_time,
    }
