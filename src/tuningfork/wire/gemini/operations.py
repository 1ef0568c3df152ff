"""Long-running operations, which tuning jobs look like from outside.

Source: gemini-api sections 7.6, 7.7 and 8.3 to 8.5; google/longrunning/operations.proto.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tuningfork.domain.errors import FieldViolation, InvalidArgument, RpcCode
from tuningfork.domain.tuned_model import TunedModel
from tuningfork.domain.tuning_job import JobState, TuningJob
from tuningfork.wire.errors import Relocation, render_status
from tuningfork.wire.gemini import tuning_messages as messages
from tuningfork.wire.gemini.tuning import render_snapshots, render_tuned_model
from tuningfork.wire.proto_json.decode import decode, decode_query
from tuningfork.wire.proto_json.encode import Typed
from tuningfork.wire.proto_json.scalars import shown
from tuningfork.wire.proto_json.text import read

LIST = Relocation("ListOperationsRequest", {}, {})
"""Where the fields of a page sit in a list request: in their own places."""

_FILTER = re.compile(r"\s*done\s*=\s*(?P<done>true|false)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationsQuery:
    """Which operations a caller asks for. `done` None is all, `page_size` None the usual size."""

    done: bool | None
    page_size: int | None
    page_token: str


def parse_list(query: Mapping[str, str]) -> OperationsQuery:
    """The page and the filter that a query asks for.

    Raises:
        InvalidArgument: a parameter that is none, or a filter other than `done=true` and `done=false`.

    """
    fields = decode_query(messages.LIST_OPERATIONS_QUERY, query)
    return OperationsQuery(
        done=_done(fields.get("filter", "")),
        page_size=fields.get("page_size"),
        page_token=fields.get("page_token", ""),
    )


def parse_cancel(body: bytes) -> None:
    """Pass the body of a cancel request: nothing, `{}`, or the name that is in the path already.

    Raises:
        InvalidArgument: anything else.

    """
    decode(messages.CANCEL_OPERATION_REQUEST, read(body))


def render_operation(model: TunedModel, job: TuningJob, *, multiplier: bool = False) -> Typed:
    """The operation of a job; see `render_tuned_model` for `multiplier`."""
    fields: dict[str, Any] = {
        "name": f"{model.name}/operations/{job.id}",
        "metadata": _metadata(model, job),
        "done": job.state.is_final,
    }
    if job.state is JobState.SUCCEEDED:
        fields["response"] = render_tuned_model(model, job, multiplier=multiplier)
    elif job.state.is_final:
        fields["error"] = _error(job).fields
    return Typed(messages.OPERATION, fields)


def render_operations(
    tuned: Iterable[tuple[TunedModel, TuningJob]], next_page_token: str, *, multiplier: bool = False
) -> Typed:
    """One page of the list."""
    operations = [render_operation(model, job, multiplier=multiplier).fields for model, job in tuned]
    return Typed(messages.LIST_OPERATIONS_RESPONSE, {"operations": operations, "next_page_token": next_page_token})


def _done(filter: str) -> bool | None:  # noqa: A002
    if not filter.strip():
        return None
    found = _FILTER.fullmatch(filter)
    if found is None:
        described = f"filter must be done=true or done=false; {shown(filter)} was given"
        raise InvalidArgument.of("ListOperationsRequest", (FieldViolation(field="filter", description=described),))
    return found["done"].lower() == "true"


def _metadata(model: TunedModel, job: TuningJob) -> Typed:
    fields = {
        "total_steps": job.total_steps,
        "completed_steps": job.completed_steps,
        "completed_percent": 100 * job.completed_steps / job.total_steps,
        "snapshots": render_snapshots(job.snapshots),
        "tuned_model": model.name,
    }
    return Typed(messages.CREATE_TUNED_MODEL_METADATA, fields)


def _error(job: TuningJob) -> Typed:
    if job.error is not None:
        return render_status(job.error.code, job.error.message)
    if job.state is JobState.CANCELLED:
        return render_status(RpcCode.CANCELLED, "The tuning job was cancelled.")
    return render_status(RpcCode.INTERNAL, "The tuning job failed.")
