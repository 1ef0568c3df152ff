"""Renders the losses of a tuning job from a step on."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tuningfork.domain.evaluation import Evaluation
from tuningfork.domain.loss_series import LossSeries
from tuningfork.domain.tuning_job import Snapshot
from tuningfork.wire.gemini.names import tuned_name
from tuningfork.wire.google.proto_json.decode import decode_query
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.google.proto_json.encode import Typed

POINT = Message(
    "tuningfork.v1.LossPoint",
    (
        Field(1, "step", Kind.INT32, presence=True),
        Field(2, "epoch", Kind.INT32, presence=True),
        Field(3, "mean_loss", Kind.DOUBLE, presence=True),
        Field(4, "right_share", Kind.DOUBLE, presence=True),
        # Since the job was first given to a trainer.
        Field(5, "seconds", Kind.DOUBLE, presence=True),
    ),
)
SERIES = Message(
    "tuningfork.v1.LossSeries",
    (
        Field(1, "tuned_model", Kind.STRING),
        Field(2, "state", Kind.STRING),
        Field(3, "step", Kind.INT32, presence=True),
        Field(4, "total_steps", Kind.INT32, presence=True),
        Field(5, "restarts", Kind.INT32, presence=True),
        Field(6, "every", Kind.INT32),
        Field(7, "training", POINT, repeated=True),
        Field(8, "validation", POINT, repeated=True),
        Field(9, "next_after_step", Kind.INT32, presence=True),
        Field(10, "next_after_validation_step", Kind.INT32, presence=True),
        Field(11, "more", Kind.BOOL),
    ),
)
SERIES_QUERY = Message(
    "tuningfork.v1.GetLossSeriesRequest",
    (Field(1, "after_step", Kind.INT32, presence=True), Field(2, "after_validation_step", Kind.INT32, presence=True)),
)


def parse_series(query: Mapping[str, str]) -> tuple[int, int]:
    """The steps after which the losses are asked for: of the training, and of the validation set; -1: all.

    Raises:
        InvalidArgument: a parameter is unknown or malformed.

    """
    fields = decode_query(SERIES_QUERY, query)
    return max(-1, fields.get("after_step", -1)), max(-1, fields.get("after_validation_step", -1))


def render_series(found: LossSeries, after_step: int, after_validation_step: int) -> Typed:
    """The answer with the training and validation losses after the given steps."""
    job = found.job
    lasting, evaluated = found.lasting_step, found.validation
    fields: dict[str, Any] = {
        "tuned_model": tuned_name(job.model_id),
        "state": job.state.name,
        "step": job.completed_steps,
        "total_steps": job.total_steps,
        "restarts": found.restarts,
        "every": found.every,
        "training": [point_of(each, job.start_time) for each in found.training],
        "validation": [point_of(each, job.start_time) for each in evaluated],
        # A job that went back to an earlier step makes the later ones again.
        "next_after_step": min(after_step, job.completed_steps) if lasting is None else lasting,
        "next_after_validation_step": evaluated[-1].step if evaluated else after_validation_step,
        "more": found.more,
    }
    return Typed(SERIES, fields)


def point_of(found: Snapshot | Evaluation, start: datetime | None) -> dict[str, Any]:
    """The fields of a point; `start` is when the job was first given to a trainer."""
    return {
        "step": found.step,
        "epoch": found.epoch,
        "mean_loss": found.mean_loss,
        "right_share": _right_share(found),
        "seconds": None if start is None else round((found.compute_time - start).total_seconds(), 3),
    }


def _right_share(found: Snapshot | Evaluation) -> float | None:
    if found.targets is None or found.right_targets is None:
        return None
    return found.right_targets / found.targets if found.targets else None
