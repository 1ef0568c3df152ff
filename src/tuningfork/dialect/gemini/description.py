"""What the methods of the Gemini API take and give: each method with the tables of its messages."""

from collections.abc import Mapping
from dataclasses import dataclass

from tuningfork.dialect.description import JSON, Description, MethodDescription, Schema
from tuningfork.dialect.gemini.methods import GeminiMethod
from tuningfork.wire.gemini import model_messages as models
from tuningfork.wire.gemini import permission_messages as permissions
from tuningfork.wire.gemini import text_messages as text
from tuningfork.wire.gemini import tuning_messages as tuning
from tuningfork.wire.gemini.generation import TABLES
from tuningfork.wire.google.errors import STATUS
from tuningfork.wire.google.proto_json.descriptors import Message
from tuningfork.wire.google.proto_json.schemas import Schemas
from tuningfork.wire.google.queries import EMPTY

_KEYS: dict[str, Schema] = {
    "apiKey": {"type": "apiKey", "in": "header", "name": "x-goog-api-key"},
    "apiKeyInQuery": {"type": "apiKey", "in": "query", "name": "key"},
}
_TOKENS: dict[str, Schema] = {
    "accessToken": {"type": "http", "scheme": "bearer", "description": "An access token that has one of the scopes."},
}
_ABOUT = (
    "Names of fields may be written in lowerCamelCase or in snake_case. Every method also takes the parameters `alt`, "
    "`fields`, `prettyPrint`, `key` and `access_token`."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """The messages of one method: its query parameters, its body, its answer. None: it has none.

    A body that is a file has a `body_type`, an answer that is one an `answer_type`.
    """

    query: Message | None = None
    body: Message | None = None
    body_type: str = JSON
    answer: Message | None = None
    answer_type: str = JSON


EXCHANGES: Mapping[GeminiMethod, Exchange] = {
    GeminiMethod.LIST_MODELS: Exchange(query=models.LIST_MODELS_QUERY, answer=models.LIST_MODELS_RESPONSE),
    GeminiMethod.GET_MODEL: Exchange(answer=models.MODEL),
    GeminiMethod.CREATE_TUNED_MODEL: Exchange(
        query=tuning.CREATE_TUNED_MODEL_QUERY, body=tuning.TUNED_MODEL, answer=tuning.OPERATION
    ),
    GeminiMethod.LIST_TUNED_MODELS: Exchange(
        query=tuning.LIST_TUNED_MODELS_QUERY, answer=tuning.LIST_TUNED_MODELS_RESPONSE
    ),
    GeminiMethod.GET_TUNED_MODEL: Exchange(answer=tuning.TUNED_MODEL),
    GeminiMethod.UPDATE_TUNED_MODEL: Exchange(
        query=tuning.UPDATE_TUNED_MODEL_QUERY, body=tuning.TUNED_MODEL, answer=tuning.TUNED_MODEL
    ),
    GeminiMethod.DELETE_TUNED_MODEL: Exchange(answer=EMPTY),
    GeminiMethod.CANCEL_TUNED_MODEL: Exchange(body=tuning.CANCEL_OPERATION_REQUEST, answer=EMPTY),
    GeminiMethod.GENERATE_CONTENT: Exchange(body=TABLES.generate_request, answer=TABLES.generate_response),
    GeminiMethod.STREAM_GENERATE_CONTENT: Exchange(body=TABLES.generate_request, answer=TABLES.generate_response),
    GeminiMethod.COUNT_TOKENS: Exchange(body=TABLES.count_request, answer=TABLES.count_response),
    GeminiMethod.GENERATE_TEXT: Exchange(body=text.GENERATE_TEXT_REQUEST, answer=text.GENERATE_TEXT_RESPONSE),
    GeminiMethod.CREATE_PERMISSION: Exchange(body=permissions.PERMISSION, answer=permissions.PERMISSION),
    GeminiMethod.GET_PERMISSION: Exchange(answer=permissions.PERMISSION),
    GeminiMethod.LIST_PERMISSIONS: Exchange(
        query=permissions.LIST_PERMISSIONS_QUERY, answer=permissions.LIST_PERMISSIONS_RESPONSE
    ),
    GeminiMethod.UPDATE_PERMISSION: Exchange(
        query=permissions.UPDATE_PERMISSION_QUERY, body=permissions.PERMISSION, answer=permissions.PERMISSION
    ),
    GeminiMethod.DELETE_PERMISSION: Exchange(answer=EMPTY),
    GeminiMethod.TRANSFER_OWNERSHIP: Exchange(
        body=permissions.TRANSFER_OWNERSHIP_REQUEST, answer=permissions.TRANSFER_OWNERSHIP_RESPONSE
    ),
    GeminiMethod.GET_OPERATION: Exchange(answer=tuning.OPERATION),
    GeminiMethod.LIST_OPERATIONS: Exchange(query=tuning.LIST_OPERATIONS_QUERY, answer=tuning.LIST_OPERATIONS_RESPONSE),
    GeminiMethod.CANCEL_OPERATION: Exchange(body=tuning.CANCEL_OPERATION_REQUEST, answer=EMPTY),
    GeminiMethod.DELETE_OPERATION: Exchange(answer=EMPTY),
}


def describe() -> Description:
    """What the methods of the Gemini API take and give."""
    return described({method.name.lower(): each for method, each in EXCHANGES.items()})


def credentials() -> tuple[dict[str, Schema], dict[str, Schema]]:
    """The ways to send an API key, and those to send an access token, as security schemes of OpenAPI."""
    return _KEYS, _TOKENS


def described(exchanges: Mapping[str, Exchange]) -> Description:
    """The description of an API in Google's form with these messages, each by the name of its binding."""
    schemas = Schemas()
    methods = {
        name: MethodDescription(
            query={}
            if each.query is None
            else {field.json_name: schemas.of_field(field) for field in each.query.fields},
            body=None if each.body is None else schemas.of(each.body),
            answer=None if each.answer is None else schemas.of(each.answer),
            body_type=each.body_type,
            answer_type=each.answer_type,
        )
        for name, each in exchanges.items()
    }
    # The JSON form of a google.rpc.Status over HTTP has the name of its code beside the number of the HTTP status.
    status = {**schemas.of(STATUS)}
    named = {"allOf": [status, {"type": "object", "properties": {"status": {"type": "string"}}}]}
    error = {"type": "object", "required": ["error"], "properties": {"error": named}}
    return Description(methods=methods, schemas=schemas.named, error=error, keys=_KEYS, tokens=_TOKENS, about=_ABOUT)
