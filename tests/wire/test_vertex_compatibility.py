"""`docs/compatibility.md` says what becomes of the fields of Vertex AI's requests; here a server is asked."""

import pytest

import compatibility_docs as docs
from caller import turn
from tuningfork.wire.google.proto_json.descriptors import Enum, Kind
from vertex_serving import V1BETA1, serving_caller

ASK = {"contents": [turn("hello")]}
JSON_MODE = {"responseMimeType": "application/json"}
HARASSMENT = {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}
MODEL = f"{V1BETA1}/publishers/any/models/echo-001"

VALUES = {
    ("GenerateContentRequest", "contents"): ASK["contents"],
    ("GenerateContentRequest", "system_instruction"): turn("be brief"),
    ("GenerateContentRequest", "generation_config"): {"seed": 1},
    ("GenerateContentRequest", "safety_settings"): [HARASSMENT],
    ("GenerateContentRequest", "labels"): {"team": "a"},
    ("Content", "role"): "USER",
    ("Content", "parts"): [{"text": "x"}],
    ("GenerationConfig", "logprobs"): 1,
    ("GenerationConfig", "response_mime_type"): "text/plain",
    ("GenerationConfig", "response_schema"): {"type": "STRING"},
    ("GenerationConfig", "response_json_schema"): {"type": "string"},
    ("GenerationConfig", "response_modalities"): ["TEXT"],
    ("GenerationConfig", "thinking_config"): {"thinkingBudget": 0},
    ("GenerationConfig", "response_format"): [{"text": {}}],
    ("GenerationConfig.ThinkingConfig", "thinking_budget"): 0,
    ("GenerationConfig.ThinkingConfig", "thinking_level"): "MINIMAL",
    ("Schema", "format"): "date-time",
    ("Schema", "items"): {"type": "STRING"},
    ("Schema", "properties"): {"a": {"type": "STRING"}},
    ("Schema", "defs"): {"a": {"type": "STRING"}},
    ("Schema", "required"): ["a"],
    ("Schema", "property_ordering"): ["a"],
    ("Schema", "any_of"): [{"type": "STRING"}, {"type": "INTEGER"}],
    ("SafetySetting", "category"): "HARM_CATEGORY_HARASSMENT",
    ("SafetySetting", "threshold"): "BLOCK_NONE",
    **{(name, "contents"): ASK["contents"] for name in ("CountTokensRequest", "ComputeTokensRequest")},
    ("CountTokensRequest", "system_instruction"): turn("be brief"),
}
"""Right values of fields for which none can be guessed from their type."""

BESIDE = {
    ("GenerationConfig", "logprobs"): {"responseLogprobs": True},
    ("GenerationConfig", "response_schema"): JSON_MODE,
    ("GenerationConfig", "response_json_schema"): JSON_MODE,
    **{
        ("Schema", name): {"type": "STRING"}
        for name in (
            *("format", "title", "description", "nullable", "enum", "min_length", "max_length", "pattern"),
            *("example", "default"),
        )
    },
    **{("Schema", name): {"type": "INTEGER"} for name in ("minimum", "maximum")},
    **{("Schema", name): {"type": "ARRAY", "items": {"type": "NULL"}} for name in ("min_items", "max_items")},
    ("Schema", "items"): {"type": "ARRAY"},
    **{("Schema", name): {"type": "OBJECT"} for name in ("properties", "additional_properties", "ref", "defs")},
    **{
        ("Schema", name): {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}
        for name in ("required", "property_ordering", "min_properties", "max_properties")
    },
    **{
        ("Part", name): {"text": "x"} for name in ("thought", "thought_signature", "video_metadata", "media_resolution")
    },
    ("Content", "role"): {"parts": [{"text": "x"}]},
    ("Content", "parts"): {"role": "user"},
    ("SafetySetting", "category"): {"threshold": "BLOCK_NONE"},
    ("SafetySetting", "threshold"): {"category": "HARM_CATEGORY_HARASSMENT"},
    ("SafetySetting", "method"): HARASSMENT,
    **{("CountTokensRequest", name): ASK for name in ("endpoint", "model", "system_instruction", "generation_config")},
    **{("ComputeTokensRequest", name): ASK for name in ("endpoint", "model")},
}
"""What has to stand beside a field for it to make sense."""


def generate(body):
    return "generateContent", {**ASK, **body}


def configured(config):
    return generate({"generationConfig": config})


REQUESTS = {
    "GenerateContentRequest": generate,
    "Content": lambda body: generate({"contents": [body]}),
    "Part": lambda body: generate({"contents": [{"role": "user", "parts": [body]}]}),
    "GenerationConfig": configured,
    "GenerationConfig.ThinkingConfig": lambda body: configured({"thinkingConfig": body}),
    "Schema": lambda body: configured({**JSON_MODE, "responseSchema": body}),
    "SafetySetting": lambda body: generate({"safetySettings": [body]}),
    "CountTokensRequest": lambda body: ("countTokens", body),
    "ComputeTokensRequest": lambda body: ("computeTokens", body),
}
"""How a message, of which one field is being looked at, is sent in a request that is right otherwise."""

FIELDS = [
    pytest.param(name, field, id=f"{name}.{field.name}")
    for name, message in docs.VERTEX_MESSAGES.items()
    for field in message.fields
]


@pytest.fixture
def caller(workshop):
    return serving_caller(workshop)


def value_of(name, field):
    if (name, field.name) in VALUES:
        return VALUES[name, field.name]
    guesses = {Kind.STRING: "x", Kind.BOOL: True, Kind.BYTES: "AAAA", Kind.JSON: {"a": "b"}, Kind.INT64: "1"}
    guess = (
        list(field.type.numbers)[-1]
        if isinstance(field.type, Enum)
        else guesses.get(field.type, 1)
        if isinstance(field.type, Kind)
        else {}
    )
    return [guess] if field.repeated else guess


def asked(caller, request):
    method, body = request
    return caller.post(f"{MODEL}:{method}", body)


def changing(answer):
    """An answer without what is another in each."""
    return {name: value for name, value in answer.json().items() if name not in ("responseId", "createTime")}


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_what_is_said_of_a_field_is_so(caller, name, field):
    said = docs.said_of_vertex(docs.VERTEX_MESSAGES[name], field)
    body = {**BESIDE.get((name, field.name), {}), field.json_name: value_of(name, field)}

    answer = asked(caller, REQUESTS[name](body))

    if said.startswith("refused"):
        assert answer.status_code == 400, answer.text
        assert field.name in answer.text or field.json_name in answer.text
        return
    assert answer.status_code == 200, answer.text
    if said.startswith("passed over"):
        without = {key: value for key, value in body.items() if key != field.json_name}
        assert changing(answer) == changing(asked(caller, REQUESTS[name](without)))


def test_everything_said_is_said_of_something():
    strangers = [
        f"{name}.{field}"
        for name, fields in docs.SAID["vertex_fields"].items()
        for field in fields
        if name not in docs.VERTEX_MESSAGES or field not in {each.name for each in docs.VERTEX_MESSAGES[name].fields}
    ]
    unknown = [
        said
        for fields in docs.SAID["vertex_fields"].values()
        for said in fields.values()
        if said.split(":")[0] not in docs.WORDS
    ]

    assert (strangers, unknown) == ([], [])
