"""Long-running operations, which is how the API shows tuning jobs.

Source: gemini-api sections 7.6, 7.7 and 8.3 to 8.5; google/longrunning/operations.proto.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tuningfork.domain.errors import Code, FieldViolation
from tuningfork.domain.refusals import JobRef
from tuningfork.domain.tuned_model import ModelState, TunedModel
from tuningfork.domain.tuning_job import JobState, TuningJob
from tuningfork.wire.gemini import tuning_messages as messages
from tuningfork.wire.gemini.names import name_of, tuned_name
from tuningfork.wire.gemini.service import VERSION
from tuningfork.wire.gemini.tuning import render_snapshots, render_tuned_model
from tuningfork.wire.google.errors import render_status
from tuningfork.wire.google.proto_json.decode import decode, decode_query
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.proto_json.scalars import shown
from tuningfork.wire.google.proto_json.text import read
from tuningfork.wire.google.requests import RequestWords, refused

LIST_ALL = RequestWords("ListOperationsRequest")
LIST = RequestWords("ListOperationsRequest", sentences=False)
"""The request's part of errors about a page, for the list of all operations and for that of one model."""

_FILTER = re.compile(r"\s*done\s*=\s*(?P<done>true|false)\s*", re.IGNORECASE)

_V1BETA3 = "v1beta3"
_OF_V1BETA3 = {
    message: replace(message, full_name=message.full_name.replace(f".{VERSION}.", f".{_V1BETA3}."))
    for message in (messages.TUNED_MODEL, messages.CREATE_TUNED_MODEL_METADATA)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationsQuery:
    """Which operations a caller asks for. `done` None: all; `page_size` None: the default size."""

    done: bool | None
    page_size: int | None
    page_token: str


def parse_list(query: Mapping[str, str]) -> OperationsQuery:
    """The page and the filter that a query asks for.

    Raises:
        InvalidArgument: a parameter is unknown, or the filter is neither `done=true` nor `done=false`.

    """
    fields = decode_query(messages.LIST_OPERATIONS_QUERY, query)
    return OperationsQuery(
        done=_done(fields.get("filter", "")),
        page_size=fields.get("page_size"),
        page_token=fields.get("page_token", ""),
    )


def parse_cancel(body: bytes) -> None:
    """Check the body of a cancel request: it may be empty, `{}`, or the name that is in the path already.

    Raises:
        InvalidArgument: the body has anything else.

    """
    decode(messages.CANCEL_OPERATION_REQUEST, read(body))


def render_operation(model: TunedModel, job: TuningJob, *, version: str = VERSION, multiplier: bool = False) -> Typed:
    """The operation of a job.

    Args:
        model: what the job makes.
        job: the job.
        version: the API version that was asked; the messages inside are named as the ones of this version.
        multiplier: see `render_tuned_model`.

    """
    fields: dict[str, Any] = {
        "name": name_of(JobRef(model.id, job.id)),
        "metadata": _of_version(_metadata(model, job), version),
        "done": job.state.is_final,
    }
    if job.state is JobState.SUCCEEDED:
        rendered = render_tuned_model(model, job, multiplier=multiplier)
        fields["response"] = _of_version(rendered, version)
    elif job.state.is_final:
        fields["error"] = _error(model, job).fields
    return Typed(messages.OPERATION, fields)


def render_operations(
    tuned: Iterable[tuple[TunedModel, TuningJob]],
    next_page_token: str,
    *,
    version: str = VERSION,
    multiplier: bool = False,
) -> Typed:
    """One page of the list; see `render_operation` for the options."""
    rendered = (render_operation(model, job, version=version, multiplier=multiplier) for model, job in tuned)
    operations = [operation.fields for operation in rendered]
    return Typed(messages.LIST_OPERATIONS_RESPONSE, {"operations": operations, "next_page_token": next_page_token})


def _done(filter: str) -> bool | None:  # noqa: A002
    if not filter.strip():
        return None
    found = _FILTER.fullmatch(filter)
    if found is None:
        described = f"filter must be done=true or done=false; {shown(filter)} was given"
        raise refused("ListOperationsRequest", (FieldViolation(field="filter", description=described),))
    return found["done"].lower() == "true"


def _of_version(typed: Typed, version: str) -> Typed:
    """The same message, by the name that programs of an API version know.

    Programs of v1beta3 know only that version's names. All others are answered with the names of v1beta, since programs
    create under v1beta and poll under v1.
    """
    return Typed(_OF_V1BETA3[typed.message], typed.fields) if version == _V1BETA3 else typed


def _metadata(model: TunedModel, job: TuningJob) -> Typed:
    fields = {
        "total_steps": job.total_steps,
        "completed_steps": job.completed_steps,
        "completed_percent": _percent(job),
        "snapshots": render_snapshots(job.snapshots),
        "tuned_model": tuned_name(model.id),
    }
    return Typed(messages.CREATE_TUNED_MODEL_METADATA, fields)


def _percent(job: TuningJob) -> float:
    """How much of the job is done. One that has ended well is done, also if it has stopped early."""
    if job.state is JobState.SUCCEEDED and job.completed_steps:
        return 100.0
    if job.total_steps:
        return 100 * job.completed_steps / job.total_steps
    return 100.0 if job.is_prepared else 0.0


def _error(model: TunedModel, job: TuningJob) -> Typed:
    if job.error is None:
        cancelled = job.state is JobState.CANCELLED
        code, message = (Code.CANCELLED, "cancelled") if cancelled else (Code.INTERNAL, "failed")
        return render_status(code, f"The tuning job {'was ' if cancelled else ''}{message}.")
    return render_status(job.error.code, job.error.message or _end_of(model, job))


def _end_of(model: TunedModel, job: TuningJob) -> str:
    """The message of a cancelled job's operation: how many steps it took, and whether its model can be called."""
    progress = f"The tuning job was cancelled after {job.completed_steps} of {job.total_steps} steps"
    if model.state is not ModelState.ACTIVE:
        return f"{progress}; there are no weights to answer with."
    return f"{progress}; {tuned_name(model.id)} answers with the weights of that step."
