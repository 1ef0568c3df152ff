"""The messages that say how to generate an answer, field by field.

Source: google/ai/generativelanguage/v1beta/generative_service.proto (GenerationConfig and what it holds), content.proto
(Schema).
"""

from tuningfork.wire.google.proto_json.descriptors import SELF, Enum, Field, Kind, Message

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

PREBUILT_VOICE_CONFIG = Message("PrebuiltVoiceConfig", (Field(1, "voice_name", Kind.STRING, presence=True),))

VOICE_CONFIG = Message("VoiceConfig", (Field(1, "prebuilt_voice_config", PREBUILT_VOICE_CONFIG, oneof="voice_config"),))

SPEAKER_VOICE_CONFIG = Message(
    "SpeakerVoiceConfig",
    (
        Field(1, "speaker", Kind.STRING),
        Field(2, "voice_config", VOICE_CONFIG),
    ),
)

MULTI_SPEAKER_VOICE_CONFIG = Message(
    "MultiSpeakerVoiceConfig", (Field(2, "speaker_voice_configs", SPEAKER_VOICE_CONFIG, repeated=True),)
)

SPEECH_CONFIG = Message(
    "SpeechConfig",
    (
        Field(1, "voice_config", VOICE_CONFIG),
        Field(3, "multi_speaker_voice_config", MULTI_SPEAKER_VOICE_CONFIG),
        Field(2, "language_code", Kind.STRING),
    ),
)

THINKING_CONFIG = Message(
    "ThinkingConfig",
    (
        Field(1, "include_thoughts", Kind.BOOL, presence=True),
        Field(2, "thinking_budget", Kind.INT32, presence=True),
    ),
)

IMAGE_CONFIG = Message("ImageConfig", (Field(1, "aspect_ratio", Kind.STRING, presence=True),))

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
        Field(2, "format", Kind.STRING),
        Field(24, "title", Kind.STRING),
        Field(3, "description", Kind.STRING),
        Field(4, "nullable", Kind.BOOL),
        Field(5, "enum", Kind.STRING, repeated=True),
        Field(6, "items", SELF),
        Field(21, "max_items", Kind.INT64),
        Field(22, "min_items", Kind.INT64),
        Field(7, "properties", SELF, keyed=True),
        Field(8, "required", Kind.STRING, repeated=True),
        Field(9, "min_properties", Kind.INT64),
        Field(10, "max_properties", Kind.INT64),
        Field(11, "minimum", Kind.DOUBLE, presence=True),
        Field(12, "maximum", Kind.DOUBLE, presence=True),
        Field(13, "min_length", Kind.INT64),
        Field(14, "max_length", Kind.INT64),
        Field(15, "pattern", Kind.STRING),
        Field(16, "example", Kind.JSON),
        Field(18, "any_of", SELF, repeated=True),
        Field(23, "property_ordering", Kind.STRING, repeated=True),
        Field(25, "default", Kind.JSON),
    ),
)

GENERATION_CONFIG = Message(
    "GenerationConfig",
    (
        Field(1, "candidate_count", Kind.INT32, presence=True),
        Field(2, "stop_sequences", Kind.STRING, repeated=True),
        Field(4, "max_output_tokens", Kind.INT32, presence=True),
        Field(5, "temperature", Kind.FLOAT, presence=True),
        Field(6, "top_p", Kind.FLOAT, presence=True),
        Field(7, "top_k", Kind.INT32, presence=True),
        Field(8, "seed", Kind.INT32, presence=True),
        Field(13, "response_mime_type", Kind.STRING),
        Field(14, "response_schema", SCHEMA),
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
