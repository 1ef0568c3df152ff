"""Parses requests for previews of a tuning, which have the fields of create requests, and renders the previews."""

from collections.abc import Mapping
from typing import Any

from tuningfork.domain.errors import FieldViolation
from tuningfork.domain.preview import MAX_SHOWN_EXAMPLES, USUALLY_SHOWN_EXAMPLES, PreviewedExample, TuningPreview
from tuningfork.wire.gemini.tuning_messages import HYPERPARAMETERS
from tuningfork.wire.google.proto_json.decode import decode_query
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.requests import refused
from tuningfork.wire.own.creations import Creation, parse_creation

_REQUEST = "PreviewTunedModelRequest"

# The parameter that a preview has in addition to those of creating (`CREATION_QUERY`).
PREVIEW_QUERY = Message(f"tuningfork.v1.{_REQUEST}", (Field(3, "examples", Kind.INT32, presence=True),))

SEGMENT = Message(
    "tuningfork.v1.TuningPreview.Segment",
    (
        Field(1, "text", Kind.STRING, presence=True),
        Field(2, "trained", Kind.BOOL, presence=True),
        Field(3, "token_count", Kind.INT32),
    ),
)
EXAMPLE = Message(
    "tuningfork.v1.TuningPreview.Example",
    (
        Field(1, "segments", SEGMENT, repeated=True),
        Field(2, "token_count", Kind.INT32),
        Field(3, "trained_token_count", Kind.INT32, presence=True),
        Field(4, "identical_to_serving", Kind.BOOL, presence=True),
    ),
)
TUNING_PREVIEW = Message(
    "tuningfork.v1.TuningPreview",
    (
        Field(1, "base_model", Kind.STRING),
        Field(2, "total_steps", Kind.INT32),
        Field(3, "hyperparameters", HYPERPARAMETERS),
        Field(4, "example_count", Kind.INT32),
        Field(5, "total_token_count", Kind.INT32),
        Field(6, "trained_token_count", Kind.INT32, presence=True),
        Field(7, "longest_example_token_count", Kind.INT32),
        Field(8, "longest_example", Kind.INT32, presence=True),
        Field(9, "context_token_count", Kind.INT32),
        Field(10, "examples", EXAMPLE, repeated=True),
        Field(11, "measured_tokens_per_second", Kind.DOUBLE, presence=True),
        Field(12, "expected_step_seconds", Kind.DOUBLE, presence=True),
        Field(13, "temperature", Kind.FLOAT, presence=True),
        Field(14, "answers", Kind.STRING),
        Field(15, "adapter_rank", Kind.INT32),
        Field(16, "adapter_alpha", Kind.DOUBLE),
        Field(17, "validation_example_count", Kind.INT32),
        Field(18, "price_per_million_tokens", Kind.DOUBLE, presence=True),
        Field(19, "expected_cost", Kind.DOUBLE, presence=True),
    ),
)


def parse_preview(body: bytes, query: Mapping[str, str]) -> tuple[Creation, int]:
    """The request to tune, as creating reads it, and how many examples are to be shown.

    Raises:
        InvalidArgument: what creating refuses, or a number of examples out of bounds.

    """
    own = {name: value for name, value in query.items() if name == "examples"}
    shown: int = decode_query(PREVIEW_QUERY, own).get("examples", USUALLY_SHOWN_EXAMPLES)
    if not 0 <= shown <= MAX_SHOWN_EXAMPLES:
        described = f"examples must be a whole number from 0 to {MAX_SHOWN_EXAMPLES}; {shown} was given"
        raise refused(_REQUEST, (FieldViolation(field="examples", description=described),))
    return parse_creation(body, {name: value for name, value in query.items() if name not in own}), shown


def render_preview(preview: TuningPreview) -> Typed:
    """The preview as a message."""
    used, dataset = preview.hyperparameters, preview.dataset
    fields = {
        "base_model": preview.base_model,
        "total_steps": preview.total_steps,
        "hyperparameters": {
            "epoch_count": used.epoch_count,
            "batch_size": used.batch_size,
            "learning_rate": used.learning_rate,
        },
        "example_count": preview.example_count,
        "validation_example_count": preview.validation_count,
        "total_token_count": dataset.total_tokens,
        "trained_token_count": dataset.trained_tokens,
        "longest_example_token_count": dataset.longest_tokens,
        "longest_example": dataset.longest_example,
        "context_token_count": dataset.context_tokens,
        "examples": [_example(example) for example in dataset.shown],
        "measured_tokens_per_second": preview.tokens_per_second,
        "expected_step_seconds": preview.step_seconds,
        "price_per_million_tokens": preview.price,
        "expected_cost": preview.cost,
        "temperature": preview.temperature,
        "answers": preview.answers or "",
        "adapter_rank": preview.adapter.rank if preview.adapter else 0,
        "adapter_alpha": preview.adapter.alpha if preview.adapter else 0.0,
    }
    return Typed(TUNING_PREVIEW, fields)


def _example(example: PreviewedExample) -> dict[str, Any]:
    return {
        "segments": [
            {"text": segment.text, "trained": segment.trained, "token_count": segment.tokens}
            for segment in example.segments
        ],
        "token_count": example.tokens,
        "trained_token_count": example.trained_tokens,
        "identical_to_serving": example.as_served,
    }
