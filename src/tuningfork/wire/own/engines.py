"""Renders what the engines of a server hold and do."""

from typing import Any

from tuningfork.domain.engine_report import EngineReport, ErrorCount
from tuningfork.domain.operations import DiskUse, WorkOfMinute
from tuningfork.wire.gemini.names import tuned_name
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.google.proto_json.encode import Typed

_PACKAGE = "tuningfork.v1"

# Sizes in bytes and counts of tokens are doubles, which JSON prints as numbers and not, as 64-bit integers, as texts.
PROCESS = Message(
    f"{_PACKAGE}.ProcessMemory", (Field(1, "role", Kind.STRING), Field(2, "resident_bytes", Kind.DOUBLE, presence=True))
)
TRAINING = Message(
    f"{_PACKAGE}.JobInTraining",
    (
        Field(1, "tuned_model", Kind.STRING),
        Field(2, "base_model", Kind.STRING),
        Field(3, "owner", Kind.STRING),
        Field(4, "step", Kind.INT32, presence=True),
        Field(5, "total_steps", Kind.INT32, presence=True),
    ),
)
SPEED = Message(
    f"{_PACKAGE}.TrainingSpeed",
    (Field(1, "base_model", Kind.STRING), Field(2, "tokens_per_second", Kind.DOUBLE, presence=True)),
)
ADAPTER = Message(
    f"{_PACKAGE}.ResidentAdapter",
    (
        Field(1, "tuned_model", Kind.STRING),
        Field(2, "size_bytes", Kind.DOUBLE, presence=True),
        Field(3, "pinned", Kind.BOOL),
    ),
)
REFUSED = Message(f"{_PACKAGE}.RefusedBase", (Field(1, "base_model", Kind.STRING), Field(2, "reason", Kind.STRING)))
TRAINER = Message(
    f"{_PACKAGE}.TrainerReport",
    (Field(1, "jobs", TRAINING, repeated=True), Field(2, "speeds", SPEED, repeated=True)),
)
GENERATOR = Message(
    f"{_PACKAGE}.GeneratorReport",
    (
        Field(1, "adapters", ADAPTER, repeated=True),
        Field(2, "adapter_bytes", Kind.DOUBLE, presence=True),
        Field(3, "prompt_tokens", Kind.DOUBLE, presence=True),
        Field(4, "output_tokens", Kind.DOUBLE, presence=True),
        Field(5, "refused_bases", REFUSED, repeated=True),
    ),
)
OWNER = Message(
    f"{_PACKAGE}.OwnersJobs",
    (
        Field(1, "email", Kind.STRING),
        Field(2, "waiting_jobs", Kind.INT32, presence=True),
        Field(3, "running_jobs", Kind.INT32, presence=True),
    ),
)
QUEUE = Message(
    f"{_PACKAGE}.QueueReport",
    (
        Field(1, "waiting_jobs", Kind.INT32, presence=True),
        Field(2, "running_jobs", Kind.INT32, presence=True),
        Field(3, "owners", OWNER, repeated=True),
    ),
)
ERROR = Message(
    f"{_PACKAGE}.ErrorCount",
    (
        Field(1, "status", Kind.INT32),
        Field(2, "count", Kind.INT32),
        Field(3, "last_time", Kind.TIMESTAMP),
        Field(4, "endpoint", Kind.STRING),
        Field(5, "last_request_id", Kind.STRING),
    ),
)
MINUTE = Message(
    f"{_PACKAGE}.WorkOfMinute",
    (
        Field(1, "time", Kind.TIMESTAMP),
        Field(2, "answers", Kind.DOUBLE, presence=True),
        Field(3, "prompt_tokens", Kind.DOUBLE, presence=True),
        Field(4, "output_tokens", Kind.DOUBLE, presence=True),
        Field(5, "steps", Kind.DOUBLE, presence=True),
        Field(6, "trained_tokens", Kind.DOUBLE, presence=True),
    ),
)
KEPT = Message(
    f"{_PACKAGE}.KeptOnDisk", (Field(1, "kind", Kind.STRING), Field(2, "size_bytes", Kind.DOUBLE, presence=True))
)
DISK = Message(
    f"{_PACKAGE}.DiskUse", (Field(1, "kept", KEPT, repeated=True), Field(2, "free_bytes", Kind.DOUBLE, presence=True))
)
ENGINES = Message(
    f"{_PACKAGE}.EngineReport",
    (
        Field(1, "trainer", TRAINER),
        Field(2, "generator", GENERATOR),
        Field(3, "processes", PROCESS, repeated=True),
        Field(4, "queue", QUEUE),
        Field(5, "errors", ERROR, repeated=True),
        Field(6, "minutes", MINUTE, repeated=True),
        Field(7, "disk", DISK),
    ),
)


def render_engines(report: EngineReport) -> Typed:
    """The whole report."""
    trainer = {
        "jobs": [
            {
                "tuned_model": tuned_name(each.model_id),
                "base_model": each.base,
                "owner": each.owner,
                "step": each.completed_steps,
                "total_steps": each.total_steps,
            }
            for each in report.jobs
        ],
        "speeds": [
            {"base_model": base, "tokens_per_second": round(speed, 1)} for base, speed in sorted(report.speeds.items())
        ],
    }
    generator = {
        "adapters": [
            {
                "tuned_model": "" if each.model_id is None else tuned_name(each.model_id),
                "size_bytes": float(each.size_bytes),
                "pinned": each.pinned,
            }
            for each in report.adapters
        ],
        "adapter_bytes": float(sum(each.size_bytes for each in report.adapters)),
        "prompt_tokens": float(report.prompt_tokens),
        "output_tokens": float(report.output_tokens),
        "refused_bases": [{"base_model": base, "reason": why} for base, why in sorted(report.refused_bases.items())],
    }
    queue = {
        "waiting_jobs": sum(each.waiting for each in report.owners),
        "running_jobs": sum(each.running for each in report.owners),
        "owners": [
            {"email": each.owner, "waiting_jobs": each.waiting, "running_jobs": each.running} for each in report.owners
        ],
    }
    processes = [{"role": role, "resident_bytes": float(size)} for role, size in sorted(report.memory.items())]
    fields = {
        "trainer": trainer,
        "generator": generator,
        "processes": processes,
        "queue": queue,
        "errors": [_error(each) for each in report.errors],
        "minutes": [_minute(each) for each in report.minutes],
        "disk": _disk(report.disk),
    }
    return Typed(ENGINES, fields)


def _error(error: ErrorCount) -> dict[str, Any]:
    return {
        "status": error.status,
        "count": error.count,
        "last_time": error.last_time,
        "endpoint": error.endpoint,
        "last_request_id": error.last_request_id,
    }


def _minute(minute: WorkOfMinute) -> dict[str, Any]:
    work = minute.work
    return {
        "time": minute.time,
        "answers": float(work.answers),
        "prompt_tokens": float(work.prompt_tokens),
        "output_tokens": float(work.output_tokens),
        "steps": float(work.steps),
        "trained_tokens": float(work.trained_tokens),
    }


def _disk(disk: DiskUse) -> dict[str, Any]:
    kept = [{"kind": kind, "size_bytes": float(size)} for kind, size in disk.kinds.items()]
    return {"kept": kept, "free_bytes": None if disk.free_bytes is None else float(disk.free_bytes)}
