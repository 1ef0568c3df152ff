"""The messages about harm, field by field.

Source: google/ai/generativelanguage/v1beta/safety.proto.
"""

from tuningfork.wire.google.proto_json.descriptors import Enum, Field, Kind, Message

HARM_CATEGORY = Enum(
    "HarmCategory",
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

HARM_PROBABILITY = Enum(
    "SafetyRating.HarmProbability",
    {"HARM_PROBABILITY_UNSPECIFIED": 0, "NEGLIGIBLE": 1, "LOW": 2, "MEDIUM": 3, "HIGH": 4},
)

SAFETY_RATING = Message(
    "SafetyRating",
    (
        Field(3, "category", HARM_CATEGORY),
        Field(4, "probability", HARM_PROBABILITY),
        Field(5, "blocked", Kind.BOOL),
    ),
)

SAFETY_SETTING = Message(
    "SafetySetting",
    (
        Field(3, "category", HARM_CATEGORY),
        Field(4, "threshold", HARM_BLOCK_THRESHOLD),
    ),
)

SAFETY_FEEDBACK = Message(
    "SafetyFeedback",
    (
        Field(1, "rating", SAFETY_RATING),
        Field(2, "setting", SAFETY_SETTING),
    ),
)

# generative_service.proto

BLOCK_REASON = Enum(
    "GenerateContentResponse.PromptFeedback.BlockReason",
    {
        "BLOCK_REASON_UNSPECIFIED": 0,
        "SAFETY": 1,
        "OTHER": 2,
        "BLOCKLIST": 3,
        "PROHIBITED_CONTENT": 4,
        "IMAGE_SAFETY": 5,
    },
)

PROMPT_FEEDBACK = Message(
    "GenerateContentResponse.PromptFeedback",
    (
        Field(1, "block_reason", BLOCK_REASON),
        Field(2, "safety_ratings", SAFETY_RATING, repeated=True),
    ),
)
