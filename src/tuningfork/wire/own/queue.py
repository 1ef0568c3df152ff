"""Renders the jobs that wait or are at work."""

from datetime import datetime
from typing import Any

from tuningfork.domain.operations import UnfinishedJob, UnfinishedJobs
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.own.jobs import PLACE, shared_fields

_PACKAGE = "tuningfork.v1"

JOB = Message(
    f"{_PACKAGE}.UnfinishedJob",
    (
        Field(1, "tuned_model", Kind.STRING),
        Field(2, "display_name", Kind.STRING),
        Field(3, "base_model", Kind.STRING),
        Field(4, "owner", Kind.STRING),
        Field(5, "state", Kind.STRING),
        Field(6, "phase", Kind.STRING),
        Field(7, "cancel_requested", Kind.BOOL),
        Field(8, "imported", Kind.BOOL),
        Field(9, "create_time", Kind.TIMESTAMP),
        Field(10, "queue", PLACE),
        Field(11, "estimated_start_time", Kind.TIMESTAMP),
        Field(12, "estimated_end_time", Kind.TIMESTAMP),
        Field(13, "seconds_left", Kind.DOUBLE, presence=True),
        Field(14, "step", Kind.INT32, presence=True),
        Field(15, "total_steps", Kind.INT32, presence=True),
        Field(16, "epoch", Kind.INT32, presence=True),
        Field(17, "epoch_count", Kind.INT32, presence=True),
        Field(18, "last_training_loss", Kind.DOUBLE, presence=True),
        Field(19, "may_cancel", Kind.BOOL),
    ),
)
QUEUE = Message(
    f"{_PACKAGE}.Queue",
    (
        Field(1, "jobs", JOB, repeated=True),
        Field(2, "total_size", Kind.INT32, presence=True),
        # Whether the jobs of all people are among them, since the caller runs the server.
        Field(3, "everybodys", Kind.BOOL),
    ),
)


def render_queue(found: UnfinishedJobs, now: datetime) -> Typed:
    """The jobs in their order, with estimates as times from `now` on."""
    jobs = [_job(each, now) for each in found.jobs]
    return Typed(QUEUE, {"jobs": jobs, "total_size": found.total, "everybodys": found.everybodys})


def _job(job: UnfinishedJob, now: datetime) -> dict[str, Any]:
    row = job.row
    return {
        **shared_fields(row.staged, row.place, now),
        "display_name": row.entry.model.display_name,
        "owner": row.entry.owner,
        "may_cancel": job.may_cancel and not row.entry.job.cancel_requested,
    }
