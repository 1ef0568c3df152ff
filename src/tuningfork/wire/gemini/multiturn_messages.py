"""The messages of `v1alpha` for training examples that are conversations; `v1beta` and `v1` have only pairs.

Source: google/ai/generativelanguage/v1alpha/tuned_model.proto.
"""

from dataclasses import replace

from tuningfork.wire.gemini import tuning_messages as pairs
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message

_PACKAGE = "google.ai.generativelanguage.v1alpha"

TUNING_EXAMPLE = Message(f"{_PACKAGE}.TuningExample", pairs.TUNING_EXAMPLE.fields)

TUNING_PART = Message(f"{_PACKAGE}.TuningPart", (Field(2, "text", Kind.STRING, oneof="data"),))

TUNING_CONTENT = Message(
    f"{_PACKAGE}.TuningContent",
    (
        Field(1, "parts", TUNING_PART, repeated=True),
        Field(2, "role", Kind.STRING),
    ),
)

TUNING_MULTITURN_EXAMPLE = Message(
    f"{_PACKAGE}.TuningMultiturnExample",
    (
        Field(8, "system_instruction", TUNING_CONTENT, presence=True),
        Field(1, "contents", TUNING_CONTENT, repeated=True),
    ),
)

TUNING_EXAMPLES = Message(
    f"{_PACKAGE}.TuningExamples",
    (
        Field(1, "examples", TUNING_EXAMPLE, repeated=True),
        Field(2, "multiturn_examples", TUNING_MULTITURN_EXAMPLE, repeated=True),
    ),
)


def with_conversations(tuned_model: Message) -> Message:
    """`TunedModel` of `v1alpha`: that of `v1beta` with other examples in its training data."""
    held = TUNING_EXAMPLES
    for table, name in (
        (pairs.DATASET, "examples"),
        (pairs.TUNING_TASK, "training_data"),
        (tuned_model, "tuning_task"),
    ):
        held = _holding(table, name, held)
    return held


def _holding(table: Message, name: str, held: Message) -> Message:
    fields = tuple(replace(each, type=held) if each.name == name else each for each in table.fields)
    return Message(f"{_PACKAGE}.{table.full_name.rpartition('.')[2]}", fields)
