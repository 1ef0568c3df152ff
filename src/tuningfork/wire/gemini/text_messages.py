"""The messages of generateText, the PaLM generation's way to ask for text, field by field.

Source: google/ai/generativelanguage/v1beta/text_service.proto, safety.proto (filters and feedback).
"""

from tuningfork.wire.gemini.safety_messages import SAFETY_FEEDBACK, SAFETY_RATING, SAFETY_SETTING
from tuningfork.wire.gemini.tuning_messages import OUTPUT_ONLY, PACKAGE
from tuningfork.wire.proto_json.descriptors import Enum, Field, Kind, Message

TEXT_PROMPT = Message(f"{PACKAGE}.TextPrompt", (Field(1, "text", Kind.STRING),))

GENERATE_TEXT_REQUEST = Message(
    f"{PACKAGE}.GenerateTextRequest",
    (
        Field(1, "model", Kind.STRING),
        Field(2, "prompt", TEXT_PROMPT),
        Field(3, "temperature", Kind.FLOAT, presence=True),
        Field(4, "candidate_count", Kind.INT32, presence=True),
        Field(5, "max_output_tokens", Kind.INT32, presence=True),
        Field(6, "top_p", Kind.FLOAT, presence=True),
        Field(7, "top_k", Kind.INT32, presence=True),
        Field(8, "safety_settings", SAFETY_SETTING, repeated=True),
        Field(9, "stop_sequences", Kind.STRING, repeated=True),
    ),
)

BLOCKED_REASON = Enum(
    f"{PACKAGE}.ContentFilter.BlockedReason", {"BLOCKED_REASON_UNSPECIFIED": 0, "SAFETY": 1, "OTHER": 2}
)

CONTENT_FILTER = Message(
    f"{PACKAGE}.ContentFilter",
    (
        Field(1, "reason", BLOCKED_REASON),
        Field(2, "message", Kind.STRING, presence=True),
    ),
)

TEXT_COMPLETION = Message(
    f"{PACKAGE}.TextCompletion",
    (
        Field(1, "output", Kind.STRING, rule=OUTPUT_ONLY),
        Field(2, "safety_ratings", SAFETY_RATING, repeated=True),
        Field(3, "citation_metadata", Kind.JSON, rule=OUTPUT_ONLY),
    ),
)

GENERATE_TEXT_RESPONSE = Message(
    f"{PACKAGE}.GenerateTextResponse",
    (
        Field(1, "candidates", TEXT_COMPLETION, repeated=True),
        Field(3, "filters", CONTENT_FILTER, repeated=True),
        Field(4, "safety_feedback", SAFETY_FEEDBACK, repeated=True),
    ),
)
