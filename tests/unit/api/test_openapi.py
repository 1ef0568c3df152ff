"""The document of the API is OpenAPI 3.1, and says what the running server has: no route more, and none less."""

import re
from itertools import groupby

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Route

import tuningfork
from caller import caller_of, turn
from toy_dialect import Toy, toy_dialect
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message, Rule
from tuningfork.wire.google.proto_json.schemas import Schemas

VALUES = {
    "model": "echo-001",
    "tuned_model": "nobody",
    "operation": "none",
    "permission": "none",
    "refresh_token": "none",
    "dataset": "none",
    "key": "none",
    "evaluation": "none",
    "checkpoint": "1",
    "row": "0",
    "service_account": "none",
    "session": "none",
}


@pytest.fixture
def document(caller):
    return caller.get("/openapi.json", key="").json()


def operations_of(document):
    return [
        (verb.upper(), path, operation)
        for path, verbs in document["paths"].items()
        for verb, operation in verbs.items()
    ]


def test_the_document_is_valid_openapi(document):
    OpenAPIV31SpecValidator(document).validate()

    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == tuningfork.__version__


def test_every_route_is_in_the_document_and_nothing_else(caller, document):
    served = {
        (verb, re.sub(r":id(?=\})", "", route.path))
        for route in caller.app.routes
        if isinstance(route, Route)
        for verb in route.methods - {"HEAD"}
    }

    assert {(verb, path) for verb, path, _ in operations_of(document)} == served


def test_every_documented_method_is_reached_at_its_path(caller, document):
    """No answer says that there is no such route, or that its verb is wrong."""
    strangers = []
    for verb, path, _ in operations_of(document):
        filled = re.sub(r"\{(\w+)\}", lambda found: VALUES[found[1]], path)
        answer = caller.call(verb, filled, {} if verb in {"POST", "PATCH"} else None)
        if answer.status_code == 405 or "is not a method of this server" in answer.text:
            strangers.append((verb, path))

    assert strangers == []


def test_every_method_has_its_own_id_and_says_what_it_does(document):
    operations = [operation for _, _, operation in operations_of(document)]
    ids = sorted(operation["operationId"] for operation in operations)

    assert [name for name, same in groupby(ids) if len(list(same)) > 1] == []
    assert [operation["operationId"] for operation in operations if not operation["summary"]] == []


def test_every_method_of_the_served_dialects_is_described(caller):
    for dialect in caller.services.dialects:
        assert {binding.name for binding in dialect.bindings} == dialect.describe().methods.keys()


def test_a_method_says_what_it_takes_gives_and_needs(document):
    create = document["paths"]["/v1beta/tunedModels"]["post"]
    model = "#/components/schemas/google.ai.generativelanguage.v1beta.TunedModel"

    assert [each["name"] for each in create["parameters"]] == ["tunedModelId"]
    assert create["requestBody"]["content"]["application/json"]["schema"] == {"$ref": model}
    assert create["responses"]["200"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/google.longrunning.Operation"
    }
    assert {"apiKey": []} in create["security"]
    assert {"accessToken": ["https://www.googleapis.com/auth/generative-language.tuning"]} in create["security"]


def test_what_needs_no_key_or_takes_no_token_says_so(document):
    paths = document["paths"]
    schemes = lambda path, verb: {name for each in paths[path][verb]["security"] for name in each}  # noqa: E731

    assert {path for path in paths if paths[path].get("get", {"security": "x"})["security"] == []} >= {
        *("/", "/docs", "/healthz", "/readyz", "/openapi.json"),
    }
    assert schemes("/metrics", "get") == {"apiKey", "apiKeyInQuery"}
    assert schemes("/tuningfork/v1/accessTokens", "post") == {"apiKey", "apiKeyInQuery"}


def test_streams_and_files_have_their_types(document):
    stream = document["paths"]["/v1beta/models/{model}:streamGenerateContent"]["post"]["responses"]["200"]["content"]
    adapter = document["paths"]["/tuningfork/v1/tunedModels/{tuned_model}/adapter"]["get"]["responses"]["200"][
        "content"
    ]

    assert set(stream) == {"application/json", "text/event-stream"}
    assert set(adapter) == {"application/x-tar"}


def test_a_server_without_credentials_asks_for_none(workshop):
    document = caller_of(workshop, require_credential=False).get("http://localhost/openapi.json", key="").json()

    assert [operation["security"] for _, _, operation in operations_of(document) if operation["security"]] == []


def test_a_dialect_that_describes_nothing_is_listed_all_the_same(workshop):
    document = caller_of(workshop, further=(toy_dialect(Toy()),)).get("/openapi.json", key="").json()

    OpenAPIV31SpecValidator(document).validate()
    assert "/toy/v1/chat" in document["paths"]


def test_what_answers_hold_is_in_the_documented_schema(caller, document):
    """Every field of some real answers is a property of the schema of their method."""
    caller.create_active()
    answered = {
        "/v1beta/models": ("get", caller.get("/v1beta/models").json()),
        "/v1beta/tunedModels": ("get", caller.get("/v1beta/tunedModels").json()),
        "/v1beta/models/{model}:generateContent": (
            "post",
            caller.post("/v1beta/models/echo-001:generateContent", {"contents": [turn("a b")]}).json(),
        ),
    }
    for path, (verb, answer) in answered.items():
        schema = document["paths"][path][verb]["responses"]["200"]["content"]["application/json"]["schema"]
        assert unknown_in(answer, schema, document["components"]["schemas"]) == []


def unknown_in(value, schema, schemas):
    schema = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if isinstance(value, list):
        return [name for each in value for name in unknown_in(each, schema["items"], schemas)]
    if not isinstance(value, dict) or "properties" not in schema:
        return []
    inner = [
        name
        for key in value.keys() & schema["properties"]
        for name in unknown_in(value[key], schema["properties"][key], schemas)
    ]
    return [*(value.keys() - schema["properties"].keys()), *inner]


def test_fields_become_properties_with_their_rules():
    inner = Message("x.Inner", (Field(1, "big_number", Kind.INT64),))
    outer = Message(
        "x.Outer",
        (
            Field(1, "inners", inner, repeated=True),
            Field(2, "by_name", Kind.STRING, keyed=True),
            Field(3, "made_time", Kind.TIMESTAMP, rule=Rule.OUTPUT_ONLY),
            Field(4, "secret", Kind.STRING, rule=Rule.INPUT_ONLY),
        ),
    )
    schemas = Schemas()

    assert schemas.of(outer) == {"$ref": "#/components/schemas/x.Outer"}
    assert schemas.named["x.Outer"]["properties"] == {
        "inners": {"type": "array", "items": {"$ref": "#/components/schemas/x.Inner"}},
        "byName": {"type": "object", "additionalProperties": {"type": "string"}},
        "madeTime": {"type": "string", "format": "date-time", "readOnly": True},
        "secret": {"type": "string", "writeOnly": True},
    }
    assert schemas.named["x.Inner"]["properties"] == {"bigNumber": {"type": ["string", "integer"], "format": "int64"}}


def test_the_document_is_made_once_and_only_when_somebody_asks(caller):
    made = []
    describe = caller.services.dialects[0].describe
    object.__setattr__(caller.services.dialects[0], "describe", lambda: made.append(1) or describe())

    caller.get("/", key="")
    before = list(made)
    for path in ("/openapi.json", "/docs", "/openapi.json"):
        assert caller.get(path, key="").status_code == 200

    assert (before, made) == ([], [1])
