"""The messages of models, inference and token counting, field by field.

Source: google/ai/generativelanguage/v1beta/{model,model_service,content,safety,generative_service}.proto. Messages
that are refused or passed over as a whole are left unread (`Kind.JSON`).
"""

from tuningfork.wire.gemini.tuning_messages import OUTPUT_ONLY, PACKAGE
from tuningfork.wire.proto_json.descriptors import Enum, Field, Kind, Message

# model.proto, model_service.proto

MODEL = Message(
    f"{PACKAGE}.Model",
    (
        Field(1, "name", Kind.STRING),
        Field(2, "base_model_id", Kind.STRING),
        Field(3, "version", Kind.STRING),
        Field(4, "display_name", Kind.STRING),
        Field(5, "description", Kind.STRING),
        Field(6, "input_token_limit", Kind.INT32),
        Field(7, "output_token_limit", Kind.INT32),
        Field(8, "supported_generation_methods", Kind.STRING, repeated=True),
        Field(9, "temperature", Kind.FLOAT, presence=True),
        Field(13, "max_temperature", Kind.FLOAT, presence=True),
        Field(10, "top_p", Kind.FLOAT, presence=True),
        Field(11, "top_k", Kind.INT32, presence=True),
        Field(15, "thinking", Kind.BOOL),
    ),
)

LIST_MODELS_QUERY = Message(
    f"{PACKAGE}.ListModelsRequest",
    (
        Field(2, "page_size", Kind.INT32),
        Field(3, "page_token", Kind.STRING),
    ),
)

LIST_MODELS_RESPONSE = Message(
    f"{PACKAGE}.ListModelsResponse",
    (
        Field(1, "models", MODEL, repeated=True),
        Field(2, "next_page_token", Kind.STRING),
    ),
)

# content.proto

MODALITY = Enum(
    f"{PACKAGE}.Modality",
    {"MODALITY_UNSPECIFIED": 0, "TEXT": 1, "IMAGE": 2, "VIDEO": 3, "AUDIO": 4, "DOCUMENT": 5},
)

PART = Message(
    f"{PACKAGE}.Part",
    (
        Field(2, "text", Kind.STRING, oneof="data"),
        Field(3, "inline_data", Kind.JSON, oneof="data"),
        Field(4, "function_call", Kind.JSON, oneof="data"),
        Field(5, "function_response", Kind.JSON, oneof="data"),
        Field(6, "file_data", Kind.JSON, oneof="data"),
        Field(9, "executable_code", Kind.JSON, oneof="data"),
        Field(10, "code_execution_result", Kind.JSON, oneof="data"),
        Field(14, "video_metadata", Kind.JSON, oneof="metadata"),
        Field(11, "thought", Kind.BOOL),
        Field(13, "thought_signature", Kind.BYTES),
        Field(8, "part_metadata", Kind.JSON),
    ),
)

CONTENT = Message(
    f"{PACKAGE}.Content",
    (
        Field(1, "parts", PART, repeated=True),
        Field(2, "role", Kind.STRING),
    ),
)

MODALITY_TOKEN_COUNT = Message(
    f"{PACKAGE}.ModalityTokenCount",
    (
        Field(1, "modality", MODALITY),
        Field(2, "token_count", Kind.INT32),
    ),
)

# safety.proto

HARM_CATEGORY = Enum(
    f"{PACKAGE}.HarmCategory",
    {
        "HARM_CATEGORY_UNSPECIFIED": 0,
        "HARM_CATEGORY_DEROGATORY": 1,
        "HARM_CATEGORY_TOXICITY": 2,
        "HARM_CATEGORY_VIOLENCE": 3,
        "HARM_CATEGORY_SEXUAL": 4,
        "HARM_CATEGORY_MEDICAL": 5,
        "HARM_CATEGORY_DANGEROUS": 6,
        "HARM_CATEGORY_HARASSMENT": 7,
        "HARM_CATEGORY_HATE_SPEECH": 8,
        "HARM_CATEGORY_SEXUALLY_EXPLICIT": 9,
        "HARM_CATEGORY_DANGEROUS_CONTENT": 10,
        "HARM_CATEGORY_CIVIC_INTEGRITY": 11,
    },
)

HARM_BLOCK_THRESHOLD = Enum(
    f"{PACKAGE}.SafetySetting.HarmBlockThreshold",
    {
        "HARM_BLOCK_THRESHOLD_UNSPECIFIED": 0,
        "BLOCK_LOW_AND_ABOVE": 1,
        "BLOCK_MEDIUM_AND_ABOVE": 2,
        "BLOCK_ONLY_HIGH": 3,
        "BLOCK_NONE": 4,
        "OFF": 5,
    },
)

SAFETY_SETTING = Message(
    f"{PACKAGE}.SafetySetting",
    (
        Field(3, "category", HARM_CATEGORY),
        Field(4, "threshold", HARM_BLOCK_THRESHOLD),
    ),
)

# generative_service.proto, requests

RESPONSE_MODALITY = Enum(
    f"{PACKAGE}.GenerationConfig.Modality", {"MODALITY_UNSPECIFIED": 0, "TEXT": 1, "IMAGE": 2, "AUDIO": 3}
)

MEDIA_RESOLUTION = Enum(
    f"{PACKAGE}.GenerationConfig.MediaResolution",
    {
        "MEDIA_RESOLUTION_UNSPECIFIED": 0,
        "MEDIA_RESOLUTION_LOW": 1,
        "MEDIA_RESOLUTION_MEDIUM": 2,
        "MEDIA_RESOLUTION_HIGH": 3,
    },
)

PREBUILT_VOICE_CONFIG = Message(f"{PACKAGE}.PrebuiltVoiceConfig", (Field(1, "voice_name", Kind.STRING, presence=True),))

VOICE_CONFIG = Message(
    f"{PACKAGE}.VoiceConfig", (Field(1, "prebuilt_voice_config", PREBUILT_VOICE_CONFIG, oneof="voice_config"),)
)

SPEAKER_VOICE_CONFIG = Message(
    f"{PACKAGE}.SpeakerVoiceConfig",
    (
        Field(1, "speaker", Kind.STRING),
        Field(2, "voice_config", VOICE_CONFIG),
    ),
)

MULTI_SPEAKER_VOICE_CONFIG = Message(
    f"{PACKAGE}.MultiSpeakerVoiceConfig", (Field(2, "speaker_voice_configs", SPEAKER_VOICE_CONFIG, repeated=True),)
)

SPEECH_CONFIG = Message(
    f"{PACKAGE}.SpeechConfig",
    (
        Field(1, "voice_config", VOICE_CONFIG),
        Field(3, "multi_speaker_voice_config", MULTI_SPEAKER_VOICE_CONFIG),
        Field(2, "language_code", Kind.STRING),
    ),
)

THINKING_CONFIG = Message(
    f"{PACKAGE}.ThinkingConfig",
    (
        Field(1, "include_thoughts", Kind.BOOL, presence=True),
        Field(2, "thinking_budget", Kind.INT32, presence=True),
    ),
)

IMAGE_CONFIG = Message(f"{PACKAGE}.ImageConfig", (Field(1, "aspect_ratio", Kind.STRING, presence=True),))

GENERATION_CONFIG = Message(
    f"{PACKAGE}.GenerationConfig",
    (
        Field(1, "candidate_count", Kind.INT32, presence=True),
        Field(2, "stop_sequences", Kind.STRING, repeated=True),
        Field(4, "max_output_tokens", Kind.INT32, presence=True),
        Field(5, "temperature", Kind.FLOAT, presence=True),
        Field(6, "top_p", Kind.FLOAT, presence=True),
        Field(7, "top_k", Kind.INT32, presence=True),
        Field(8, "seed", Kind.INT32, presence=True),
        Field(13, "response_mime_type", Kind.STRING),
        Field(14, "response_schema", Kind.JSON),
        Field(24, "response_json_schema", Kind.JSON, json_name="_responseJsonSchema"),
        Field(28, "response_json_schema_ordered", Kind.JSON, json_name="responseJsonSchema"),
        Field(15, "presence_penalty", Kind.FLOAT, presence=True),
        Field(16, "frequency_penalty", Kind.FLOAT, presence=True),
        Field(17, "response_logprobs", Kind.BOOL, presence=True),
        Field(18, "logprobs", Kind.INT32, presence=True),
        Field(19, "enable_enhanced_civic_answers", Kind.BOOL, presence=True),
        Field(20, "response_modalities", RESPONSE_MODALITY, repeated=True),
        Field(21, "speech_config", SPEECH_CONFIG),
        Field(22, "thinking_config", THINKING_CONFIG),
        Field(27, "image_config", IMAGE_CONFIG),
        Field(23, "media_resolution", MEDIA_RESOLUTION, presence=True),
    ),
)

GENERATE_CONTENT_REQUEST = Message(
    f"{PACKAGE}.GenerateContentRequest",
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
    f"{PACKAGE}.CountTokensRequest",
    (
        Field(1, "model", Kind.STRING),
        Field(2, "contents", CONTENT, repeated=True),
        Field(3, "generate_content_request", GENERATE_CONTENT_REQUEST),
    ),
)

# generative_service.proto, answers

FINISH_REASON = Enum(
    f"{PACKAGE}.Candidate.FinishReason",
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

# Fields that this server never sets are here so that a field mask may name them.

CANDIDATE = Message(
    f"{PACKAGE}.Candidate",
    (
        Field(3, "index", Kind.INT32, presence=True, rule=OUTPUT_ONLY),
        Field(1, "content", CONTENT, rule=OUTPUT_ONLY),
        Field(2, "finish_reason", FINISH_REASON, rule=OUTPUT_ONLY),
        Field(4, "finish_message", Kind.STRING, presence=True, rule=OUTPUT_ONLY),
        Field(5, "safety_ratings", Kind.JSON, repeated=True),
        Field(6, "citation_metadata", Kind.JSON, rule=OUTPUT_ONLY),
        Field(7, "token_count", Kind.INT32, rule=OUTPUT_ONLY),
        Field(8, "grounding_attributions", Kind.JSON, repeated=True, rule=OUTPUT_ONLY),
        Field(9, "grounding_metadata", Kind.JSON, rule=OUTPUT_ONLY),
        Field(10, "avg_logprobs", Kind.DOUBLE, rule=OUTPUT_ONLY),
        Field(11, "logprobs_result", Kind.JSON, rule=OUTPUT_ONLY),
        Field(13, "url_context_metadata", Kind.JSON, rule=OUTPUT_ONLY),
    ),
)

USAGE_METADATA = Message(
    f"{PACKAGE}.GenerateContentResponse.UsageMetadata",
    (
        Field(1, "prompt_token_count", Kind.INT32),
        Field(4, "cached_content_token_count", Kind.INT32),
        Field(2, "candidates_token_count", Kind.INT32),
        Field(8, "tool_use_prompt_token_count", Kind.INT32, rule=OUTPUT_ONLY),
        Field(10, "thoughts_token_count", Kind.INT32, rule=OUTPUT_ONLY),
        Field(3, "total_token_count", Kind.INT32),
        Field(5, "prompt_tokens_details", MODALITY_TOKEN_COUNT, repeated=True, rule=OUTPUT_ONLY),
        Field(6, "cache_tokens_details", MODALITY_TOKEN_COUNT, repeated=True, rule=OUTPUT_ONLY),
        Field(7, "candidates_tokens_details", MODALITY_TOKEN_COUNT, repeated=True, rule=OUTPUT_ONLY),
        Field(9, "tool_use_prompt_tokens_details", MODALITY_TOKEN_COUNT, repeated=True, rule=OUTPUT_ONLY),
    ),
)

GENERATE_CONTENT_RESPONSE = Message(
    f"{PACKAGE}.GenerateContentResponse",
    (
        Field(1, "candidates", CANDIDATE, repeated=True),
        Field(2, "prompt_feedback", Kind.JSON),
        Field(3, "usage_metadata", USAGE_METADATA, rule=OUTPUT_ONLY),
        Field(4, "model_version", Kind.STRING, rule=OUTPUT_ONLY),
        Field(5, "response_id", Kind.STRING, rule=OUTPUT_ONLY),
    ),
)

COUNT_TOKENS_RESPONSE = Message(
    f"{PACKAGE}.CountTokensResponse",
    (
        Field(1, "total_tokens", Kind.INT32),
        Field(5, "cached_content_token_count", Kind.INT32),
        Field(6, "prompt_tokens_details", MODALITY_TOKEN_COUNT, repeated=True, rule=OUTPUT_ONLY),
        Field(7, "cache_tokens_details", MODALITY_TOKEN_COUNT, repeated=True, rule=OUTPUT_ONLY),
    ),
)
