"""The messages of generateText, the method of the older PaLM models, field by field.

Source: google/ai/generativelanguage/v1beta/text_service.proto, safety.proto (filters and feedback).
"""

from tuningfork.wire.gemini.service import PACKAGE
from tuningfork.wire.google import safety_messages as shared
from tuningfork.wire.google.packages import Package
from tuningfork.wire.google.proto_json.descriptors import Enum, Field, Kind, Message, Rule

_SHARED = Package(PACKAGE)
SAFETY_SETTING = _SHARED.message(shared.SAFETY_SETTING)
SAFETY_RATING = _SHARED.message(shared.SAFETY_RATING)
SAFETY_FEEDBACK = _SHARED.message(shared.SAFETY_FEEDBACK)

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
        Field(1, "output", Kind.STRING, rule=Rule.OUTPUT_ONLY),
        Field(2, "safety_ratings", SAFETY_RATING, repeated=True),
        Field(3, "citation_metadata", Kind.JSON, rule=Rule.OUTPUT_ONLY),
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
