"""The messages of inference and token counting, field by field.

Source: google/ai/generativelanguage/v1beta/generative_service.proto. Messages that are refused or ignored as a whole
are not decoded further (`Kind.JSON`).
"""

from tuningfork.wire.google.config_messages import GENERATION_CONFIG
from tuningfork.wire.google.content_messages import CONTENT, MODALITY_TOKEN_COUNT
from tuningfork.wire.google.proto_json.descriptors import Enum, Field, Kind, Message, Rule
from tuningfork.wire.google.safety_messages import PROMPT_FEEDBACK, SAFETY_RATING, SAFETY_SETTING

# requests

GENERATE_CONTENT_REQUEST = Message(
    "GenerateContentRequest",
    (
        Field(1, "model", Kind.STRING),
        Field(8, "system_instruction", CONTENT),
        Field(2, "contents", CONTENT, repeated=True),
        Field(5, "tools", Kind.JSON, repeated=True),
        Field(7, "tool_config", Kind.JSON),
        Field(3, "safety_settings", SAFETY_SETTING, repeated=True),
        Field(4, "generation_config", GENERATION_CONFIG),
        Field(9, "cached_content", Kind.STRING, presence=True),
    ),
)

COUNT_TOKENS_REQUEST = Message(
    "CountTokensRequest",
    (
        Field(1, "model", Kind.STRING),
        Field(2, "contents", CONTENT, repeated=True),
        Field(3, "generate_content_request", GENERATE_CONTENT_REQUEST),
    ),
)

# answers

FINISH_REASON = Enum(
    "Candidate.FinishReason",
    {
        "FINISH_REASON_UNSPECIFIED": 0,
        "STOP": 1,
        "MAX_TOKENS": 2,
        "SAFETY": 3,
        "RECITATION": 4,
        "LANGUAGE": 6,
        "OTHER": 5,
        "BLOCKLIST": 7,
        "PROHIBITED_CONTENT": 8,
        "SPII": 9,
        "MALFORMED_FUNCTION_CALL": 10,
        "IMAGE_SAFETY": 11,
        "IMAGE_PROHIBITED_CONTENT": 14,
        "IMAGE_OTHER": 15,
        "NO_IMAGE": 16,
        "IMAGE_RECITATION": 17,
        "UNEXPECTED_TOOL_CALL": 12,
        "TOO_MANY_TOOL_CALLS": 13,
    },
)

LOGPROBS_CANDIDATE = Message(
    "LogprobsResult.Candidate",
    (
        Field(1, "token", Kind.STRING, presence=True),
        Field(3, "token_id", Kind.INT32, presence=True),
        Field(2, "log_probability", Kind.FLOAT, presence=True),
    ),
)

TOP_CANDIDATES = Message("LogprobsResult.TopCandidates", (Field(1, "candidates", LOGPROBS_CANDIDATE, repeated=True),))

LOGPROBS_RESULT = Message(
    "LogprobsResult",
    (
        Field(3, "log_probability_sum", Kind.FLOAT, presence=True),
        Field(1, "top_candidates", TOP_CANDIDATES, repeated=True),
        Field(2, "chosen_candidates", LOGPROBS_CANDIDATE, repeated=True),
    ),
)

# Fields that this server never sets are listed so that a field mask may name them.

CANDIDATE = Message(
    "Candidate",
    (
        Field(3, "index", Kind.INT32, presence=True, rule=Rule.OUTPUT_ONLY),
        Field(1, "content", CONTENT, rule=Rule.OUTPUT_ONLY),
        Field(2, "finish_reason", FINISH_REASON, rule=Rule.OUTPUT_ONLY),
        Field(4, "finish_message", Kind.STRING, presence=True, rule=Rule.OUTPUT_ONLY),
        Field(5, "safety_ratings", SAFETY_RATING, repeated=True),
        Field(6, "citation_metadata", Kind.JSON, rule=Rule.OUTPUT_ONLY),
        Field(7, "token_count", Kind.INT32, rule=Rule.OUTPUT_ONLY),
        Field(8, "grounding_attributions", Kind.JSON, repeated=True, rule=Rule.OUTPUT_ONLY),
        Field(9, "grounding_metadata", Kind.JSON, rule=Rule.OUTPUT_ONLY),
        Field(10, "avg_logprobs", Kind.DOUBLE, rule=Rule.OUTPUT_ONLY),
        Field(11, "logprobs_result", LOGPROBS_RESULT, rule=Rule.OUTPUT_ONLY),
        Field(13, "url_context_metadata", Kind.JSON, rule=Rule.OUTPUT_ONLY),
    ),
)

USAGE_METADATA = Message(
    "GenerateContentResponse.UsageMetadata",
    (
        Field(1, "prompt_token_count", Kind.INT32),
        Field(4, "cached_content_token_count", Kind.INT32),
        Field(2, "candidates_token_count", Kind.INT32),
        Field(8, "tool_use_prompt_token_count", Kind.INT32, rule=Rule.OUTPUT_ONLY),
        Field(10, "thoughts_token_count", Kind.INT32, rule=Rule.OUTPUT_ONLY),
        Field(3, "total_token_count", Kind.INT32),
        Field(5, "prompt_tokens_details", MODALITY_TOKEN_COUNT, repeated=True, rule=Rule.OUTPUT_ONLY),
        Field(6, "cache_tokens_details", MODALITY_TOKEN_COUNT, repeated=True, rule=Rule.OUTPUT_ONLY),
        Field(7, "candidates_tokens_details", MODALITY_TOKEN_COUNT, repeated=True, rule=Rule.OUTPUT_ONLY),
        Field(9, "tool_use_prompt_tokens_details", MODALITY_TOKEN_COUNT, repeated=True, rule=Rule.OUTPUT_ONLY),
    ),
)

GENERATE_CONTENT_RESPONSE = Message(
    "GenerateContentResponse",
    (
        Field(1, "candidates", CANDIDATE, repeated=True),
        Field(2, "prompt_feedback", PROMPT_FEEDBACK),
        Field(3, "usage_metadata", USAGE_METADATA, rule=Rule.OUTPUT_ONLY),
        Field(4, "model_version", Kind.STRING, rule=Rule.OUTPUT_ONLY),
        Field(5, "response_id", Kind.STRING, rule=Rule.OUTPUT_ONLY),
    ),
)

COUNT_TOKENS_RESPONSE = Message(
    "CountTokensResponse",
    (
        Field(1, "total_tokens", Kind.INT32),
        Field(5, "cached_content_token_count", Kind.INT32),
        Field(6, "prompt_tokens_details", MODALITY_TOKEN_COUNT, repeated=True, rule=Rule.OUTPUT_ONLY),
        Field(7, "cache_tokens_details", MODALITY_TOKEN_COUNT, repeated=True, rule=Rule.OUTPUT_ONLY),
    ),
)
