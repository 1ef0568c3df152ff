"""Renders everything that there is to show of one tuning job."""

from datetime import datetime, timedelta
from typing import Any

from tuningfork.domain.job_detail import JobDetail, JobEvent, QueuePlace, Setting
from tuningfork.domain.job_stage import StagedJob
from tuningfork.domain.tuned_model import ModelState
from tuningfork.domain.tuning_job import TuningJob
from tuningfork.wire.gemini.names import tuned_name
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message, lower_camel
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.own.diagnoses import FINDING
from tuningfork.wire.own.series import POINT, point_of

_PACKAGE = "tuningfork.v1"

PLACE = Message(
    f"{_PACKAGE}.QueuePlace",
    (
        Field(1, "position", Kind.INT32, presence=True),
        Field(2, "jobs_ahead", Kind.INT32, presence=True),
        Field(3, "waiting_jobs", Kind.INT32, presence=True),
        Field(4, "running_jobs", Kind.INT32, presence=True),
        Field(5, "waits_for", Kind.STRING),
    ),
)
LOADING = Message(
    f"{_PACKAGE}.BaseLoading",
    (
        Field(1, "base_model", Kind.STRING),
        Field(2, "seconds", Kind.DOUBLE, presence=True),
        Field(3, "usual_seconds", Kind.DOUBLE, presence=True),
    ),
)
FAILURE = Message(
    f"{_PACKAGE}.JobFailure",
    (
        Field(1, "kind", Kind.STRING),
        Field(2, "code", Kind.STRING),
        Field(3, "message", Kind.STRING),
        Field(4, "cause", Kind.STRING),
        Field(5, "fix", Kind.STRING),
        Field(6, "suggested_learning_rate", Kind.DOUBLE, presence=True),
        Field(7, "suggested_batch_size", Kind.INT32, presence=True),
    ),
)
EVENT = Message(
    f"{_PACKAGE}.JobEvent",
    (
        Field(1, "time", Kind.TIMESTAMP),
        Field(2, "kind", Kind.STRING),
        Field(3, "message", Kind.STRING),
        Field(4, "step", Kind.INT32, presence=True),
    ),
)
SETTING = Message(
    f"{_PACKAGE}.Setting",
    (
        Field(1, "name", Kind.STRING),
        # A number, a text or a truth value.
        Field(2, "value", Kind.JSON, presence=True),
        Field(3, "default", Kind.BOOL, presence=True),
    ),
)
DATA = Message(
    f"{_PACKAGE}.JobData",
    (
        Field(1, "example_count", Kind.INT32, presence=True),
        Field(2, "validation_example_count", Kind.INT32, presence=True),
        Field(3, "character_count", Kind.DOUBLE, presence=True),
        Field(4, "token_count", Kind.DOUBLE, presence=True),
        Field(5, "dropped_example_count", Kind.INT32, presence=True),
    ),
)
JOB = Message(
    f"{_PACKAGE}.JobDetail",
    (
        Field(1, "tuned_model", Kind.STRING),
        Field(2, "display_name", Kind.STRING),
        Field(3, "description", Kind.STRING),
        Field(4, "base_model", Kind.STRING),
        Field(5, "tuned_model_source", Kind.STRING),
        Field(6, "owner", Kind.STRING),
        Field(7, "role", Kind.STRING),
        Field(8, "state", Kind.STRING),
        Field(9, "phase", Kind.STRING),
        Field(10, "callable", Kind.BOOL),
        Field(11, "cancel_requested", Kind.BOOL),
        Field(12, "imported", Kind.BOOL),
        Field(13, "create_time", Kind.TIMESTAMP),
        Field(14, "start_time", Kind.TIMESTAMP),
        Field(15, "complete_time", Kind.TIMESTAMP),
        Field(16, "last_report_time", Kind.TIMESTAMP),
        Field(17, "update_time", Kind.TIMESTAMP),
        Field(18, "queue", PLACE),
        Field(19, "loading", LOADING),
        Field(20, "held_up_by", Kind.STRING),
        Field(21, "estimated_start_time", Kind.TIMESTAMP),
        Field(22, "estimated_end_time", Kind.TIMESTAMP),
        Field(23, "seconds_left", Kind.DOUBLE, presence=True),
        Field(24, "step", Kind.INT32, presence=True),
        Field(25, "total_steps", Kind.INT32, presence=True),
        Field(26, "epoch", Kind.INT32, presence=True),
        Field(27, "epoch_count", Kind.INT32, presence=True),
        Field(28, "last_training_loss", Kind.DOUBLE, presence=True),
        Field(29, "lowest_training", POINT),
        Field(30, "last_validation", POINT),
        Field(31, "best_validation", POINT),
        Field(32, "stopped_early", Kind.STRING),
        Field(33, "failure", FAILURE),
        Field(34, "findings", FINDING, repeated=True),
        Field(35, "events", EVENT, repeated=True),
        Field(36, "settings", SETTING, repeated=True),
        Field(37, "data", DATA),
        Field(38, "expected_cost", Kind.DOUBLE, presence=True),
    ),
)


def render_job(detail: JobDetail) -> Typed:
    """Everything about one job."""
    model, job = detail.model, detail.job
    source = None if model.source is None else tuned_name(model.source)
    fields: dict[str, Any] = {
        "description": model.description,
        "tuned_model_source": source,
        "start_time": job.start_time,
        "complete_time": job.complete_time,
        "last_report_time": detail.last_report,
        "update_time": _last_of(detail),
        "loading": _loading(detail.staged),
        "held_up_by": "" if detail.staged.beginning is None else detail.staged.beginning.held_up_by,
        "lowest_training": None if detail.lowest is None else point_of(detail.lowest, job.start_time),
        "last_validation": None if detail.latest is None else point_of(detail.latest, job.start_time),
        "best_validation": None if detail.best is None else point_of(detail.best, job.start_time),
        "stopped_early": detail.stopped_early,
        "failure": _failure(detail),
        "findings": [
            {"kind": each.kind.value, "description": each.description, "advice": each.advice}
            for each in detail.findings
        ],
        "events": [_event(each) for each in detail.events],
        "settings": [_setting(each) for each in detail.settings],
        "data": _data(job),
        "expected_cost": detail.staged.cost,
    }
    common = shared_fields(detail.staged, detail.place, detail.time)
    named = {"display_name": model.display_name, "owner": detail.owner, "role": detail.role.value}
    return Typed(JOB, {**common, **named, "callable": model.state is ModelState.ACTIVE, **fields})


def shared_fields(staged: StagedJob, place: QueuePlace | None, now: datetime) -> dict[str, Any]:
    """What one job's answer and an entry of a list have in common: state, queue, progress, estimates."""
    job = staged.job
    begins = None if place is None else place.start_seconds
    trains = job.total_steps > 0
    used = job.hyperparameters
    return {
        "tuned_model": tuned_name(job.model_id),
        "base_model": job.base_model,
        "state": job.state.name,
        "phase": staged.stage.value,
        "cancel_requested": job.cancel_requested and not job.state.is_final,
        "imported": job.imported,
        "create_time": job.create_time,
        "queue": None if place is None else _place(place),
        "seconds_left": None if staged.seconds_left is None else round(staged.seconds_left, 1),
        "estimated_start_time": None if begins is None else _moment(now, begins),
        "estimated_end_time": None if staged.seconds_left is None else _moment(now, staged.seconds_left),
        "step": job.completed_steps if trains else None,
        "total_steps": job.total_steps if trains else None,
        "epoch": used.completed_epochs(job.completed_steps, job.example_count) if trains else None,
        "epoch_count": used.epoch_count if trains else None,
        "last_training_loss": job.last_loss,
    }


def _moment(now: datetime, seconds: float) -> datetime:
    # In whole seconds, as precise as such an estimate can be.
    return (now + timedelta(seconds=seconds)).replace(microsecond=0)


def _last_of(detail: JobDetail) -> datetime:
    times = [detail.model.update_time, detail.job.create_time, detail.job.complete_time, detail.last_report]
    times += [each.time for each in detail.events]
    return max(each for each in times if each is not None)


def _place(place: QueuePlace) -> dict[str, Any]:
    return {
        "position": place.position,
        "jobs_ahead": place.jobs_ahead,
        "waiting_jobs": place.waiting_jobs,
        "running_jobs": place.running_jobs,
        "waits_for": place.waits_for,
    }


def _loading(staged: StagedJob) -> dict[str, Any] | None:
    beginning = staged.beginning
    if beginning is None or beginning.base is None:
        return None
    usual = beginning.usual_seconds
    return {
        "base_model": beginning.base,
        "seconds": round(beginning.seconds, 1),
        "usual_seconds": None if usual is None else round(usual, 1),
    }


def _failure(detail: JobDetail) -> dict[str, Any] | None:
    failure = detail.failure
    if failure is None:
        return None
    return {
        "kind": failure.kind.value,
        "code": failure.code.value,
        "message": failure.message,
        "cause": failure.cause,
        "fix": failure.fix,
        "suggested_learning_rate": failure.learning_rate,
        "suggested_batch_size": failure.batch_size,
    }


def _event(event: JobEvent) -> dict[str, Any]:
    return {"time": event.time, "kind": event.kind.value, "message": event.message, "step": event.step}


def _setting(setting: Setting) -> dict[str, Any]:
    return {"name": lower_camel(setting.name), "value": setting.value, "default": setting.is_default}


def _data(job: TuningJob) -> dict[str, Any] | None:
    if job.imported or not job.is_prepared:
        return None
    counted = job.data_statistics
    return {
        "example_count": job.example_count,
        "validation_example_count": job.validation_count,
        "character_count": None if counted is None else float(counted.characters),
        "token_count": None if counted is None else float(counted.billable_tokens),
        "dropped_example_count": None if counted is None else counted.dropped,
    }
