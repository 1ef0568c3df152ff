"""`docs/compatibility.md` says what becomes of each field of a request; here a server is asked whether that is so."""

import pytest

import compatibility_docs as docs
from caller import TUTORIAL_BODY, turn
from tuningfork.wire.google.proto_json.descriptors import Enum, Kind, Rule

TASK = TUTORIAL_BODY["tuningTask"]
PAIRS = TASK["trainingData"]["examples"]["examples"]
ASK = {"contents": [turn("hello")]}
JSON_MODE = {"responseMimeType": "application/json"}

VALUES = {
    ("GenerationConfig", "logprobs"): 1,
    ("Schema", "format"): "date-time",
    ("Schema", "items"): {"type": "STRING"},
    ("Schema", "properties"): {"a": {"type": "STRING"}},
    ("Schema", "required"): ["a"],
    ("Schema", "property_ordering"): ["a"],
    ("Schema", "any_of"): [{"type": "STRING"}, {"type": "INTEGER"}],
    ("GenerationConfig", "response_mime_type"): "text/plain",
    ("GenerationConfig", "response_schema"): {"type": "STRING"},
    ("GenerationConfig", "response_json_schema"): {"type": "string"},
    ("GenerationConfig", "response_json_schema_ordered"): {"type": "string"},
    ("GenerationConfig", "response_modalities"): ["TEXT"],
    ("GenerateContentRequest", "contents"): ASK["contents"],
    ("GenerateContentRequest", "system_instruction"): turn("be brief"),
    ("GenerateContentRequest", "generation_config"): {"seed": 1},
    ("GenerateContentRequest", "safety_settings"): [
        {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}
    ],
    ("GenerateContentRequest", "cached_content"): "cachedContents/x",
    ("CountTokensRequest", "contents"): ASK["contents"],
    ("CountTokensRequest", "generate_content_request"): {"model": "models/echo-001", **ASK},
    ("Content", "role"): "user",
    ("Content", "parts"): [{"text": "x"}],
    ("SafetySetting", "category"): "HARM_CATEGORY_HARASSMENT",
    ("SafetySetting", "threshold"): "BLOCK_NONE",
    ("TuningTask", "training_data"): TASK["trainingData"],
    ("TunedModel", "base_model"): "models/echo-001",
    ("TunedModel", "tuning_task"): TASK,
    ("TunedModel", "reader_project_numbers"): ["123"],
    ("Dataset", "examples"): {"examples": PAIRS},
    ("TuningExamples", "examples"): PAIRS,
    ("Permission", "grantee_type"): "USER",
    ("Permission", "email_address"): "x@example.com",
    ("TextPrompt", "text"): "hello",
    ("GenerateTextRequest", "prompt"): {"text": "hello"},
    ("GenerateTextRequest", "model"): "models/echo-001",
    ("GenerateTextRequest", "safety_settings"): [],
}
"""Right values of fields for which none can be guessed from their type."""

BESIDE = {
    ("CountTokensRequest", "model"): ASK,
    ("GenerationConfig", "logprobs"): {"responseLogprobs": True},
    ("GenerationConfig", "response_schema"): JSON_MODE,
    ("GenerationConfig", "response_json_schema"): JSON_MODE,
    ("GenerationConfig", "response_json_schema_ordered"): JSON_MODE,
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
    ("Schema", "properties"): {"type": "OBJECT"},
    **{
        ("Schema", name): {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}
        for name in ("required", "property_ordering", "min_properties", "max_properties")
    },
    ("Part", "video_metadata"): {"text": "x"},
    ("Part", "thought"): {"text": "x"},
    ("Part", "thought_signature"): {"text": "x"},
    ("Part", "part_metadata"): {"text": "x"},
    ("Content", "role"): {"parts": [{"text": "x"}]},
    ("SafetySetting", "category"): {"threshold": "BLOCK_NONE"},
    ("SafetySetting", "threshold"): {"category": "HARM_CATEGORY_HARASSMENT"},
    ("TuningExample", "text_input"): {"output": "x"},
    ("TuningExample", "output"): {"textInput": "x"},
    **{
        ("Permission", name): {"role": "READER", "granteeType": "USER", "emailAddress": "x@example.com"}
        for name in ("role", "grantee_type", "email_address")
    },
}
"""What has to stand beside a field for it to make sense."""


def generate(body):
    return lambda caller: caller.post("/v1beta/models/echo-001:generateContent", {**ASK, **body})


def create(body):
    return lambda caller: caller.post("/v1beta/tunedModels", {**TUTORIAL_BODY, **body})


def with_task(body):
    return create({"tuningTask": {**TASK, **body}})


def create_permission(body):
    return lambda caller: caller.post(f"/v1beta/{caller.create()}/permissions", body)


def generate_text(body):
    asked = {"prompt": {"text": "hello"}, **body}
    return lambda caller: caller.post("/v1beta/models/echo-001:generateText", asked)


REQUESTS = {
    "GenerateContentRequest": generate,
    "CountTokensRequest": lambda body: lambda caller: caller.post("/v1beta/models/echo-001:countTokens", body or ASK),
    "GenerationConfig": lambda body: generate({"generationConfig": body}),
    "Schema": lambda body: generate({"generationConfig": {**JSON_MODE, "responseSchema": body}}),
    "SafetySetting": lambda body: generate({"safetySettings": [body]}),
    "Content": lambda body: generate({"contents": [body]}),
    "Part": lambda body: generate({"contents": [{"role": "user", "parts": [body]}]}),
    "TunedModel": create,
    "TuningTask": with_task,
    "Hyperparameters": lambda body: with_task({"hyperparameters": body}),
    "Dataset": lambda body: with_task({"trainingData": body}),
    "TuningExamples": lambda body: with_task({"trainingData": {"examples": body}}),
    "TuningExample": lambda body: with_task({"trainingData": {"examples": {"examples": [body]}}}),
    "Permission": create_permission,
    "GenerateTextRequest": generate_text,
    "TextPrompt": lambda body: generate_text({"prompt": body}),
}
"""How a message, of which one field is being looked at, is sent in a request that is right otherwise."""

FIELDS = [
    pytest.param(name, field, id=f"{name}.{field.name}")
    for name, message in docs.messages().items()
    if name in REQUESTS
    for field in message.fields
    if field.rule is not Rule.OUTPUT_ONLY
    # A member of the source has a test of its own: it needs a model to start from.
    and field.name != "tuned_model_source"
]


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


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_what_is_said_of_a_field_is_so(caller, name, field):
    said = docs.said_of(docs.messages()[name], field)
    body = {**BESIDE.get((name, field.name), {}), field.json_name: value_of(name, field)}

    answer = REQUESTS[name](body)(caller)

    if said.startswith("refused"):
        assert answer.status_code == 400, answer.text
        assert field.name in answer.text or field.json_name in answer.text
    else:
        assert answer.status_code == 200, answer.text
        if name == "GenerationConfig" and said.startswith("passed over"):
            assert answer.json() == generate({})(caller).json()


def test_everything_said_is_said_of_something():
    messages = docs.messages()
    strangers = [
        f"{name}.{field}"
        for name, fields in docs.SAID["fields"].items()
        for field in fields
        if name not in messages or field not in {each.name for each in messages[name].fields}
    ]
    unknown = [said for fields in docs.SAID["fields"].values() for said in fields.values() if not is_known(said)]

    assert (strangers, unknown) == ([], [])


def is_known(said):
    return said.split(":")[0] in docs.WORDS


def test_every_message_of_a_request_is_looked_at():
    looked_at = set(REQUESTS) | {"TunedModelSource"}
    requests = [docs.messages()[name] for name in ("GenerateContentRequest", "CountTokensRequest", "TunedModel")]
    waiting, inside = list(requests), set()
    while waiting:
        message = waiting.pop()
        if docs.short_name(message) in inside:
            continue
        inside.add(docs.short_name(message))
        waiting += [
            field.type
            for field in message.fields
            if hasattr(field.type, "fields") and field.rule is not Rule.OUTPUT_ONLY
        ]

    # Passed over as a whole.
    without_effect = {"SpeechConfig", "VoiceConfig", "PrebuiltVoiceConfig", "MultiSpeakerVoiceConfig"}
    assert inside - looked_at - without_effect - {"SpeakerVoiceConfig", "ThinkingConfig", "ImageConfig"} == set()


def test_fields_that_are_never_set_are_not_in_an_answer(caller):
    answer = caller.post("/v1beta/models/echo-001:generateContent", ASK).json()
    [candidate] = answer["candidates"]
    printed = {"Candidate": candidate, "GenerateContentResponse.UsageMetadata": answer["usageMetadata"]}
    never = [
        (name, field.json_name)
        for name in printed
        for field in docs.messages()[name].fields
        if docs.said_of(docs.messages()[name], field).startswith("never")
    ]

    assert len(never) > 5
    assert not [(name, field) for name, field in never if field in printed[name]]
