"""The messages of base models, field by field.

Source: google/ai/generativelanguage/v1beta/{model,model_service}.proto.
"""

from tuningfork.wire.gemini.service import PACKAGE
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message

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
