"""Renders what requests to each base model may contain, which the Gemini API's list of models does not tell."""

from collections.abc import Sequence

from tuningfork.domain.base_model import PublicModel
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.google.proto_json.encode import Typed

_PACKAGE = "tuningfork.v1"

BASE = Message(
    f"{_PACKAGE}.BaseModelLimits",
    (
        Field(1, "name", Kind.STRING),
        # Whether `responseMimeType` and a schema may ask for JSON.
        Field(2, "json_mode", Kind.BOOL, presence=True),
        Field(3, "system_instruction", Kind.BOOL, presence=True),
        Field(4, "max_temperature", Kind.DOUBLE, presence=True),
        Field(5, "output_token_limit", Kind.INT32),
        # Left out: only the context length limits it.
        Field(6, "max_input_characters", Kind.INT32, presence=True),
        Field(7, "max_output_characters", Kind.INT32, presence=True),
    ),
)
BASES = Message(f"{_PACKAGE}.ListBaseModelLimitsResponse", (Field(1, "models", BASE, repeated=True),))


def render_limits(models: Sequence[PublicModel]) -> Typed:
    """All base models under all of their names."""
    return Typed(BASES, {"models": [_limits(model) for model in models]})


def _limits(model: PublicModel) -> dict[str, object]:
    return {
        "name": model.name,
        "json_mode": model.limits.json_mode,
        "system_instruction": model.limits.system_instruction,
        "max_temperature": model.base.sampling.max_temperature,
        "output_token_limit": model.output_tokens,
        "max_input_characters": model.limits.max_input_characters,
        "max_output_characters": model.limits.max_output_characters,
    }
