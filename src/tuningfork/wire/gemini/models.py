"""Base models as `models.list` and `models.get` show them (gemini-api section 6; v1beta/model.proto)."""

import base64
from collections.abc import Mapping, Sequence

from tuningfork.domain.base_model import PublicModel
from tuningfork.domain.errors import FieldViolation, InvalidArgument
from tuningfork.wire.gemini import model_messages as messages
from tuningfork.wire.google.proto_json.decode import decode_query
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.requests import RequestWords, refused

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1_000

METHODS = ("generateContent", "countTokens", "createTunedModel")
"""The methods of every base model; by the last one clients find tunable models."""
PALM_METHODS = ("generateText", "createTunedTextModel")
"""The further methods of base models that take bare texts. By the second one, another name of `createTunedModel`,
programs of the PaLM generation find tunable models."""


GET = RequestWords("GetModelRequest", method="getModel")
"""The request's part of the error about a missing model."""


def render_model(model: PublicModel) -> Typed:
    """One base model under one of its names, with the default values of requests to it."""
    sampling = model.base.sampling
    fields = {
        "name": model.name,
        "version": model.version,
        "display_name": model.display_name,
        "description": model.description,
        "input_token_limit": model.input_tokens,
        "output_token_limit": model.output_tokens,
        "supported_generation_methods": (*METHODS, *PALM_METHODS) if model.limits.completion else METHODS,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "max_temperature": sampling.max_temperature,
    }
    return Typed(messages.MODEL, fields)


def render_models_page(models: Sequence[PublicModel], query: Mapping[str, str]) -> Typed:
    """The page of the catalog that a query asks for.

    Raises:
        InvalidArgument: the page size is negative, or this method did not return the page token.

    """
    fields = decode_query(messages.LIST_MODELS_QUERY, query)
    size = fields.get("page_size", 0)
    if size < 0:
        raise _refused("page_size", f"page_size must not be negative; {size} was given")
    begin = _begin(models, fields.get("page_token", ""))
    end = begin + min(size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
    page = {
        "models": [render_model(model).fields for model in models[begin:end]],
        "next_page_token": _token(models[end - 1]) if end < len(models) else "",
    }
    return Typed(messages.LIST_MODELS_RESPONSE, page)


def _token(last_shown: PublicModel) -> str:
    return base64.urlsafe_b64encode(last_shown.name.encode()).decode().rstrip("=")


def _begin(models: Sequence[PublicModel], token: str) -> int:
    if not token:
        return 0
    for index, model in enumerate(models):
        if _token(model) == token:
            return index + 1
    raise _refused("page_token", "page_token is not one that this method returned")


def _refused(field: str, description: str) -> InvalidArgument:
    return refused("ListModelsRequest", (FieldViolation(field=field, description=description),))
