"""Previews and estimates of staged datasets: parses what is wanted, and renders it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tuningfork.domain.data_findings import CheckPurpose
from tuningfork.domain.job_detail import NextPlace
from tuningfork.domain.preview import USUALLY_SHOWN_EXAMPLES, PreviewedExample, TuningPreview
from tuningfork.domain.tuning_job import TuningJob
from tuningfork.wire.gemini.tuning_messages import HYPERPARAMETERS
from tuningfork.wire.google.proto_json.decode import decode
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.proto_json.text import read
from tuningfork.wire.google.requests import RequestWords
from tuningfork.wire.own.dataset_checks import PURPOSE, purpose_of

_PACKAGE = "tuningfork.v1"

PREVIEW = Message(
    f"{_PACKAGE}.PreviewDatasetRequest",
    (
        *PURPOSE,
        Field(4, "ids", Kind.INT32, repeated=True),
        Field(5, "start", Kind.INT32),
        Field(6, "count", Kind.INT32, presence=True),
    ),
)
SEGMENT = Message(
    f"{_PACKAGE}.PreviewDatasetResponse.Segment",
    (
        Field(1, "text", Kind.STRING, presence=True),
        Field(2, "learned", Kind.BOOL, presence=True),
        Field(3, "token_count", Kind.INT32),
    ),
)
EXAMPLE = Message(
    f"{_PACKAGE}.PreviewDatasetResponse.Example",
    (
        Field(1, "id", Kind.INT32, presence=True),
        Field(2, "number", Kind.INT32),
        Field(3, "segments", SEGMENT, repeated=True),
        Field(4, "token_count", Kind.INT32),
        Field(5, "learned_token_count", Kind.INT32, presence=True),
        Field(6, "identical_to_serving", Kind.BOOL, presence=True),
    ),
)
PREVIEWED = Message(
    f"{_PACKAGE}.PreviewDatasetResponse",
    (Field(1, "examples", EXAMPLE, repeated=True), Field(2, "context_token_count", Kind.INT32)),
)
ESTIMATE = Message(
    f"{_PACKAGE}.EstimateTuningResponse",
    (
        Field(1, "example_count", Kind.INT32, presence=True),
        Field(2, "validation_example_count", Kind.INT32),
        Field(3, "total_steps", Kind.INT32),
        Field(4, "total_token_count", Kind.INT32),
        Field(5, "trained_token_count", Kind.INT32),
        Field(6, "hyperparameters", HYPERPARAMETERS),
        Field(7, "adapter_rank", Kind.INT32),
        Field(8, "seconds", Kind.DOUBLE, presence=True),
        Field(9, "jobs_ahead", Kind.INT32, presence=True),
        Field(10, "wait_seconds", Kind.DOUBLE, presence=True),
        Field(11, "expected_cost", Kind.DOUBLE, presence=True),
        Field(12, "counted_example_count", Kind.INT32),
    ),
)
PREVIEW_WORDS = RequestWords("PreviewDatasetRequest", method="createTunedModel")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewedRow:
    """A row that was rendered: its id, its index, and its tokens."""

    id: int
    index: int
    example: PreviewedExample


def parse_preview(body: bytes) -> tuple[CheckPurpose, tuple[int, ...], int, int]:
    """What the rows are rendered for, and which: their ids, or where there are none, the first index and how many.

    Raises:
        InvalidArgument: the body is malformed, or a name.

    """
    fields = decode(PREVIEW, read(body))
    purpose = purpose_of(fields, PREVIEW_WORDS.request)
    start, count = fields.get("start", 0), fields.get("count", USUALLY_SHOWN_EXAMPLES)
    return purpose, tuple(fields.get("ids", ())), max(0, start), max(0, count)


def render_preview(rows: Sequence[PreviewedRow], context_tokens: int) -> Typed:
    """The rows as the trainer will see them."""
    return Typed(PREVIEWED, {"examples": [_example(each) for each in rows], "context_token_count": context_tokens})


def render_estimate(
    job: TuningJob, preview: TuningPreview, tokens: tuple[int, int], seconds: float | None, place: NextPlace
) -> Typed:
    """What a job would be. `tokens` are those of an epoch, and those that are trained; `seconds` None: not known."""
    used = job.hyperparameters
    total, trained = tokens
    cost = None if preview.price is None else total * used.epoch_count * preview.price / 1_000_000
    fields: dict[str, Any] = {
        "example_count": job.example_count,
        "validation_example_count": job.validation_count,
        "total_steps": job.total_steps,
        "total_token_count": total,
        "trained_token_count": trained,
        "hyperparameters": {
            "epoch_count": used.epoch_count,
            "batch_size": used.batch_size,
            "learning_rate": used.learning_rate,
        },
        "adapter_rank": job.adapter.rank,
        "seconds": None if seconds is None else round(seconds, 1),
        "jobs_ahead": place.jobs_ahead,
        # Up, so that 0 says that it begins at once.
        "wait_seconds": None if place.start_seconds is None else math.ceil(10 * place.start_seconds) / 10,
        "expected_cost": cost,
        "counted_example_count": preview.example_count,
    }
    return Typed(ESTIMATE, fields)


def _example(row: PreviewedRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "number": row.index + 1,
        "segments": [
            {"text": segment.text, "learned": segment.trained, "token_count": segment.tokens}
            for segment in row.example.segments
        ],
        "token_count": row.example.tokens,
        "learned_token_count": row.example.trained_tokens,
        "identical_to_serving": row.example.as_served,
    }
