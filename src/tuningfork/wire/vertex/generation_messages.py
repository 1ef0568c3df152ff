"""The messages of inference and token counting, field by field.

Source: google/cloud/aiplatform/v1/{content,prediction_service,llm_utility_service,openapi}.proto. What a text server
refuses or passes over as a whole is not decoded further (`Kind.JSON`). Numbers of enums are not Gemini's.
"""

from tuningfork.wire.google.content_messages import MODALITY_TOKEN_COUNT
from tuningfork.wire.google.proto_json.descriptors import SELF, Enum, Field, Kind, Message, Rule

# requests

PART = Message(
    "Part",
    (
        Field(1, "text", Kind.STRING, oneof="data"),
        Field(2, "inline_data", Kind.JSON, oneof="data"),
        Field(3, "file_data", Kind.JSON, oneof="data"),
        Field(5, "function_call", Kind.JSON, oneof="data"),
        Field(6, "function_response", Kind.JSON, oneof="data"),
        Field(8, "executable_code", Kind.JSON, oneof="data"),
        Field(9, "code_execution_result", Kind.JSON, oneof="data"),
        Field(10, "thought", Kind.BOOL),
        Field(11, "thought_signature", Kind.BYTES),
        Field(4, "video_metadata", Kind.JSON, oneof="metadata"),
        Field(12, "media_resolution", Kind.JSON),
    ),
)

CONTENT = Message("Content", (Field(1, "role", Kind.STRING), Field(2, "parts", PART, repeated=True)))

TYPE = Enum(
    "Type",
    {
        "TYPE_UNSPECIFIED": 0,
        "STRING": 1,
        "NUMBER": 2,
        "INTEGER": 3,
        "BOOLEAN": 4,
        "ARRAY": 5,
        "OBJECT": 6,
        "NULL": 7,
    },
)

SCHEMA = Message(
    "Schema",
    (
        Field(1, "type", TYPE),
        Field(7, "format", Kind.STRING),
        Field(24, "title", Kind.STRING),
        Field(8, "description", Kind.STRING),
        Field(6, "nullable", Kind.BOOL),
        Field(23, "default", Kind.JSON),
        Field(2, "items", SELF),
        Field(21, "min_items", Kind.INT64),
        Field(22, "max_items", Kind.INT64),
        Field(9, "enum", Kind.STRING, repeated=True),
        Field(3, "properties", SELF, keyed=True),
        Field(25, "property_ordering", Kind.STRING, repeated=True),
        Field(5, "required", Kind.STRING, repeated=True),
        Field(14, "min_properties", Kind.INT64),
        Field(15, "max_properties", Kind.INT64),
        Field(16, "minimum", Kind.DOUBLE, presence=True),
        Field(17, "maximum", Kind.DOUBLE, presence=True),
        Field(18, "min_length", Kind.INT64),
        Field(19, "max_length", Kind.INT64),
        Field(20, "pattern", Kind.STRING),
        Field(4, "example", Kind.JSON),
        Field(11, "any_of", SELF, repeated=True),
        Field(26, "additional_properties", Kind.JSON),
        Field(27, "ref", Kind.STRING),
        Field(28, "defs", SELF, keyed=True),
    ),
)

THINKING_LEVEL = Enum(
    "GenerationConfig.ThinkingConfig.ThinkingLevel",
    {"THINKING_LEVEL_UNSPECIFIED": 0, "LOW": 1, "MEDIUM": 2, "HIGH": 3, "MINIMAL": 4},
)

THINKING_CONFIG = Message(
    "GenerationConfig.ThinkingConfig",
    (
        Field(1, "include_thoughts", Kind.BOOL, presence=True),
        Field(3, "thinking_budget", Kind.INT32, presence=True),
        Field(4, "thinking_level", THINKING_LEVEL, presence=True),
    ),
)

RESPONSE_MODALITY = Enum("GenerationConfig.Modality", {"MODALITY_UNSPECIFIED": 0, "TEXT": 1, "IMAGE": 2, "AUDIO": 3})

MEDIA_RESOLUTION = Enum(
    "GenerationConfig.MediaResolution",
    {
        "MEDIA_RESOLUTION_UNSPECIFIED": 0,
        "MEDIA_RESOLUTION_LOW": 1,
        "MEDIA_RESOLUTION_MEDIUM": 2,
        "MEDIA_RESOLUTION_HIGH": 3,
    },
)

GENERATION_CONFIG = Message(
    "GenerationConfig",
    (
        Field(1, "temperature", Kind.FLOAT, presence=True),
        Field(2, "top_p", Kind.FLOAT, presence=True),
        Field(3, "top_k", Kind.FLOAT, presence=True),
        Field(4, "candidate_count", Kind.INT32, presence=True),
        Field(5, "max_output_tokens", Kind.INT32, presence=True),
        Field(6, "stop_sequences", Kind.STRING, repeated=True),
        Field(18, "response_logprobs", Kind.BOOL, presence=True),
        Field(7, "logprobs", Kind.INT32, presence=True),
        Field(8, "presence_penalty", Kind.FLOAT, presence=True),
        Field(9, "frequency_penalty", Kind.FLOAT, presence=True),
        Field(12, "seed", Kind.INT32, presence=True),
        Field(13, "response_mime_type", Kind.STRING),
        Field(16, "response_schema", SCHEMA),
        Field(28, "response_json_schema", Kind.JSON),
        Field(17, "routing_config", Kind.JSON),
        Field(20, "audio_timestamp", Kind.BOOL, presence=True),
        Field(21, "response_modalities", RESPONSE_MODALITY, repeated=True),
        Field(22, "media_resolution", MEDIA_RESOLUTION, presence=True),
        Field(23, "speech_config", Kind.JSON),
        Field(25, "thinking_config", THINKING_CONFIG),
        Field(27, "model_config", Kind.JSON),
        Field(30, "image_config", Kind.JSON),
        # The published definition gives no numbers to the last four, and they are never printed.
        Field(101, "response_format", Kind.JSON, repeated=True),
        Field(102, "translation_config", Kind.JSON),
        Field(103, "audio_transcription_config", Kind.JSON),
        Field(104, "enable_affective_dialog", Kind.BOOL, presence=True),
    ),
)

HARM_CATEGORY = Enum(
    "HarmCategory",
    {
        "HARM_CATEGORY_UNSPECIFIED": 0,
        "HARM_CATEGORY_HATE_SPEECH": 1,
        "HARM_CATEGORY_DANGEROUS_CONTENT": 2,
        "HARM_CATEGORY_HARASSMENT": 3,
        "HARM_CATEGORY_SEXUALLY_EXPLICIT": 4,
        "HARM_CATEGORY_CIVIC_INTEGRITY": 5,
        "HARM_CATEGORY_JAILBREAK": 6,
        # The published definition gives no numbers to these.
        "HARM_CATEGORY_IMAGE_HATE": 101,
        "HARM_CATEGORY_IMAGE_DANGEROUS_CONTENT": 102,
        "HARM_CATEGORY_IMAGE_HARASSMENT": 103,
        "HARM_CATEGORY_IMAGE_SEXUALLY_EXPLICIT": 104,
    },
)

HARM_BLOCK_THRESHOLD = Enum(
    "SafetySetting.HarmBlockThreshold",
    {
        "HARM_BLOCK_THRESHOLD_UNSPECIFIED": 0,
        "BLOCK_LOW_AND_ABOVE": 1,
        "BLOCK_MEDIUM_AND_ABOVE": 2,
        "BLOCK_ONLY_HIGH": 3,
        "BLOCK_NONE": 4,
        "OFF": 5,
    },
)

HARM_BLOCK_METHOD = Enum(
    "SafetySetting.HarmBlockMethod", {"HARM_BLOCK_METHOD_UNSPECIFIED": 0, "SEVERITY": 1, "PROBABILITY": 2}
)

SAFETY_SETTING = Message(
    "SafetySetting",
    (
        Field(1, "category", HARM_CATEGORY),
        Field(2, "threshold", HARM_BLOCK_THRESHOLD),
        Field(4, "method", HARM_BLOCK_METHOD),
    ),
)

GENERATE_CONTENT_REQUEST = Message(
    "GenerateContentRequest",
    (
        Field(5, "model", Kind.STRING),
        Field(2, "contents", CONTENT, repeated=True),
        Field(8, "system_instruction", CONTENT),
        Field(9, "cached_content", Kind.STRING),
        Field(6, "tools", Kind.JSON, repeated=True),
        Field(7, "tool_config", Kind.JSON),
        Field(10, "labels", Kind.STRING, keyed=True),
        Field(3, "safety_settings", SAFETY_SETTING, repeated=True),
        Field(11, "model_armor_config", Kind.JSON),
        Field(4, "generation_config", GENERATION_CONFIG),
        # The published definition gives no numbers to these.
        Field(101, "output_config", Kind.JSON),
        Field(102, "continuation_token", Kind.BYTES),
    ),
)

COUNT_TOKENS_REQUEST = Message(
    "CountTokensRequest",
    (
        Field(1, "endpoint", Kind.STRING),
        Field(3, "model", Kind.STRING),
        Field(2, "instances", Kind.JSON, repeated=True),
        Field(4, "contents", CONTENT, repeated=True),
        Field(5, "system_instruction", CONTENT),
        Field(6, "tools", Kind.JSON, repeated=True),
        Field(7, "generation_config", GENERATION_CONFIG),
    ),
)

COMPUTE_TOKENS_REQUEST = Message(
    "ComputeTokensRequest",
    (
        Field(1, "endpoint", Kind.STRING),
        Field(3, "model", Kind.STRING),
        Field(2, "instances", Kind.JSON, repeated=True),
        Field(4, "contents", CONTENT, repeated=True),
    ),
)

# answers

HARM_PROBABILITY = Enum(
    "SafetyRating.HarmProbability",
    {"HARM_PROBABILITY_UNSPECIFIED": 0, "NEGLIGIBLE": 1, "LOW": 2, "MEDIUM": 3, "HIGH": 4},
)

SAFETY_RATING = Message(
    "SafetyRating",
    (
        Field(1, "category", HARM_CATEGORY),
        Field(2, "probability", HARM_PROBABILITY),
        Field(3, "blocked", Kind.BOOL),
    ),
)

FINISH_REASON = Enum(
    "Candidate.FinishReason",
    {
        "FINISH_REASON_UNSPECIFIED": 0,
        "STOP": 1,
        "MAX_TOKENS": 2,
        "SAFETY": 3,
        "RECITATION": 4,
        "OTHER": 5,
        "BLOCKLIST": 6,
        "PROHIBITED_CONTENT": 7,
        "SPII": 8,
        "MALFORMED_FUNCTION_CALL": 9,
        "MODEL_ARMOR": 10,
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
        Field(1, "top_candidates", TOP_CANDIDATES, repeated=True),
        Field(2, "chosen_candidates", LOGPROBS_CANDIDATE, repeated=True),
    ),
)

# Fields that this server never sets are listed so that a field mask may name them.

CANDIDATE = Message(
    "Candidate",
    (
        Field(1, "index", Kind.INT32, rule=Rule.OUTPUT_ONLY),
        Field(2, "content", CONTENT, rule=Rule.OUTPUT_ONLY),
        Field(9, "avg_logprobs", Kind.DOUBLE, rule=Rule.OUTPUT_ONLY),
        Field(10, "logprobs_result", LOGPROBS_RESULT, rule=Rule.OUTPUT_ONLY),
        Field(3, "finish_reason", FINISH_REASON, rule=Rule.OUTPUT_ONLY),
        Field(4, "safety_ratings", SAFETY_RATING, repeated=True, rule=Rule.OUTPUT_ONLY),
        Field(5, "finish_message", Kind.STRING, presence=True, rule=Rule.OUTPUT_ONLY),
        Field(6, "citation_metadata", Kind.JSON, rule=Rule.OUTPUT_ONLY),
        Field(7, "grounding_metadata", Kind.JSON, rule=Rule.OUTPUT_ONLY),
        Field(11, "url_context_metadata", Kind.JSON, rule=Rule.OUTPUT_ONLY),
    ),
)

BLOCKED_REASON = Enum(
    "GenerateContentResponse.PromptFeedback.BlockedReason",
    {
        "BLOCKED_REASON_UNSPECIFIED": 0,
        "SAFETY": 1,
        "OTHER": 2,
        "BLOCKLIST": 3,
        "PROHIBITED_CONTENT": 4,
        "MODEL_ARMOR": 5,
        "JAILBREAK": 6,
    },
)

PROMPT_FEEDBACK = Message(
    "GenerateContentResponse.PromptFeedback",
    (
        Field(1, "block_reason", BLOCKED_REASON, rule=Rule.OUTPUT_ONLY),
        Field(2, "safety_ratings", SAFETY_RATING, repeated=True, rule=Rule.OUTPUT_ONLY),
        Field(3, "block_reason_message", Kind.STRING, rule=Rule.OUTPUT_ONLY),
    ),
)

TRAFFIC_TYPE = Enum(
    "GenerateContentResponse.UsageMetadata.TrafficType",
    {"TRAFFIC_TYPE_UNSPECIFIED": 0, "ON_DEMAND": 1, "PROVISIONED_THROUGHPUT": 2},
)

USAGE_METADATA = Message(
    "GenerateContentResponse.UsageMetadata",
    (
        Field(1, "prompt_token_count", Kind.INT32),
        Field(2, "candidates_token_count", Kind.INT32),
        Field(14, "thoughts_token_count", Kind.INT32, rule=Rule.OUTPUT_ONLY),
        Field(3, "total_token_count", Kind.INT32),
        Field(5, "cached_content_token_count", Kind.INT32, rule=Rule.OUTPUT_ONLY),
        Field(9, "prompt_tokens_details", MODALITY_TOKEN_COUNT, repeated=True, rule=Rule.OUTPUT_ONLY),
        Field(10, "cache_tokens_details", MODALITY_TOKEN_COUNT, repeated=True, rule=Rule.OUTPUT_ONLY),
        Field(11, "candidates_tokens_details", MODALITY_TOKEN_COUNT, repeated=True, rule=Rule.OUTPUT_ONLY),
        Field(8, "traffic_type", TRAFFIC_TYPE, rule=Rule.OUTPUT_ONLY),
    ),
)

GENERATE_CONTENT_RESPONSE = Message(
    "GenerateContentResponse",
    (
        Field(2, "candidates", CANDIDATE, repeated=True, rule=Rule.OUTPUT_ONLY),
        Field(11, "model_version", Kind.STRING, rule=Rule.OUTPUT_ONLY),
        Field(12, "create_time", Kind.TIMESTAMP, rule=Rule.OUTPUT_ONLY),
        Field(13, "response_id", Kind.STRING, rule=Rule.OUTPUT_ONLY),
        Field(3, "prompt_feedback", PROMPT_FEEDBACK, rule=Rule.OUTPUT_ONLY),
        Field(4, "usage_metadata", USAGE_METADATA),
    ),
)

COUNT_TOKENS_RESPONSE = Message(
    "CountTokensResponse",
    (
        Field(1, "total_tokens", Kind.INT32),
        Field(2, "total_billable_characters", Kind.INT32),
        Field(3, "prompt_tokens_details", MODALITY_TOKEN_COUNT, repeated=True, rule=Rule.OUTPUT_ONLY),
    ),
)

TOKENS_INFO = Message(
    "TokensInfo",
    (
        Field(1, "tokens", Kind.BYTES, repeated=True),
        Field(2, "token_ids", Kind.INT64, repeated=True),
        Field(3, "role", Kind.STRING),
    ),
)

COMPUTE_TOKENS_RESPONSE = Message("ComputeTokensResponse", (Field(1, "tokens_info", TOKENS_INFO, repeated=True),))
