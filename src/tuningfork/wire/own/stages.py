"""Renders the stages of tuning jobs."""

from collections.abc import Mapping, Sequence
from typing import Any

from tuningfork.domain.job_stage import StagedJob
from tuningfork.wire.gemini.names import tuned_name
from tuningfork.wire.google.proto_json.decode import decode_query
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.google.proto_json.encode import Typed

STAGE = Message(
    "tuningfork.v1.JobStage",
    (
        Field(1, "tuned_model", Kind.STRING),
        Field(2, "stage", Kind.STRING),
        Field(3, "loading_base_model", Kind.STRING),
        Field(4, "loading_seconds", Kind.DOUBLE, presence=True),
        Field(5, "usual_loading_seconds", Kind.DOUBLE, presence=True),
        Field(6, "seconds_left", Kind.DOUBLE, presence=True),
        Field(7, "held_up_by", Kind.STRING),
        Field(8, "expected_cost", Kind.DOUBLE, presence=True),
    ),
)
STAGES = Message(
    "tuningfork.v1.ListStagesResponse",
    (Field(1, "stages", STAGE, repeated=True), Field(2, "next_page_token", Kind.STRING)),
)
STAGES_QUERY = Message(
    "tuningfork.v1.ListStagesRequest",
    (Field(1, "page_size", Kind.INT32), Field(2, "page_token", Kind.STRING)),
)


def parse_list(query: Mapping[str, str]) -> tuple[int | None, str]:
    """The size and the token of the page that a query asks for.

    Raises:
        InvalidArgument: a parameter is unknown or malformed.

    """
    fields = decode_query(STAGES_QUERY, query)
    return fields.get("page_size"), fields.get("page_token", "")


def render_stage(staged: StagedJob) -> Typed:
    """The stage of one job."""
    return Typed(STAGE, _fields(staged))


def render_stages(found: Sequence[StagedJob], next_page_token: str) -> Typed:
    """One page of the list."""
    return Typed(STAGES, {"stages": [_fields(each) for each in found], "next_page_token": next_page_token})


def _fields(staged: StagedJob) -> dict[str, Any]:
    beginning, left = staged.beginning, staged.seconds_left
    fields: dict[str, Any] = {
        "tuned_model": tuned_name(staged.job.model_id),
        "stage": staged.stage.value,
        "seconds_left": None if left is None else round(left, 1),
        "expected_cost": staged.cost,
    }
    if beginning is not None and beginning.base is not None:
        fields |= {
            "loading_base_model": beginning.base,
            "loading_seconds": round(beginning.seconds, 1),
            "usual_loading_seconds": None if beginning.usual_seconds is None else round(beginning.usual_seconds, 1),
        }
    if beginning is not None and beginning.held_up_by:
        fields["held_up_by"] = beginning.held_up_by
    return fields
