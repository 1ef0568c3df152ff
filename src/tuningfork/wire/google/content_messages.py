"""The messages with the contents of prompts and answers, field by field.

Source: google/ai/generativelanguage/v1beta/content.proto. Fields that a text server refuses are not decoded further
(`Kind.JSON`).
"""

from tuningfork.wire.google.proto_json.descriptors import Enum, Field, Kind, Message

MODALITY = Enum(
    "Modality",
    {"MODALITY_UNSPECIFIED": 0, "TEXT": 1, "IMAGE": 2, "VIDEO": 3, "AUDIO": 4, "DOCUMENT": 5},
)

PART = Message(
    "Part",
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
    "Content",
    (
        Field(1, "parts", PART, repeated=True),
        Field(2, "role", Kind.STRING),
    ),
)

MODALITY_TOKEN_COUNT = Message(
    "ModalityTokenCount",
    (
        Field(1, "modality", MODALITY),
        Field(2, "token_count", Kind.INT32),
    ),
)
