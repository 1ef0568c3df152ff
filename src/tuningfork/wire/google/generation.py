"""Parses requests for text and for token counts. Answers are rendered in `answers`.

Source: gemini-api section 11; google/ai/generativelanguage/v1beta/generative_service.proto.
"""

from tuningfork.domain.base_model import with_prefix
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.errors import FieldViolation, Reason
from tuningfork.domain.generation import GenerationRequest, RequestedSampling
from tuningfork.wire.google.answer_formats import answer_format_of, violations_of_format
from tuningfork.wire.google.generation_tables import GenerationTables
from tuningfork.wire.google.prompts import Site, parse_prompt
from tuningfork.wire.google.proto_json.decode import Fields, decode
from tuningfork.wire.google.proto_json.text import read
from tuningfork.wire.google.requests import RequestWords, refused
from tuningfork.wire.google.safety import parse_safety_settings
from tuningfork.wire.google.served import unserved_members

_NO_CONTENTS = "contents is not specified"

GENERATE = RequestWords(
    "GenerateContentRequest",
    {
        "prompt": "contents",
        "prompt.system_instruction": "system_instruction",
        "sampling": "generation_config",
        "sampling.answer_format": "generation_config.response_schema",
    },
    described={("prompt", Reason.MISSING): _NO_CONTENTS},
    method="generateContent",
)
"""The request's part of errors about a `GenerationRequest`."""

COUNT = RequestWords(
    "CountTokensRequest",
    {"prompt": "contents"},
    described={("prompt", Reason.MISSING): _NO_CONTENTS},
    method="countTokens",
)
"""The request's part of errors about a `Conversation` whose tokens are to be counted."""


def parse_generate(body: bytes, tables: GenerationTables) -> GenerationRequest:
    """The request for text in a body.

    Args:
        body: a GenerateContentRequest, whose field `model` is ignored.
        tables: the messages of the API.

    Raises:
        InvalidArgument: the body is not JSON, not a GenerateContentRequest, or asks for something that is not served.

    """
    return generation_request(decode(tables.generate_request, read(body)))


def generation_request(fields: Fields, further: tuple[FieldViolation, ...] = ()) -> GenerationRequest:
    """The request for text in a decoded GenerateContentRequest.

    Args:
        fields: the message.
        further: what else is wrong with it, which the error tells as well.

    Raises:
        InvalidArgument: it asks for something that is not served.

    """
    config: Fields = fields.get("generation_config", {})
    if found := (*unserved_members(fields), *further, *violations_of_format(config)):
        raise refused(GENERATE.request, found)
    settings = parse_safety_settings(fields.get("safety_settings", ()))
    prompt = parse_prompt(fields, Site(GENERATE.request), must_end_with_user=True)
    return GenerationRequest(prompt=prompt, sampling=_sampling(config), safety_settings=settings)


def parse_count_tokens(body: bytes, name: str, tables: GenerationTables) -> Conversation:
    """The prompt whose tokens are to be counted: bare contents, or a whole request for text.

    Args:
        body: a CountTokensRequest.
        name: the name of the called model, `models/x` or `tunedModels/x`. A request for text to another model is
            refused, since another model may count other tokens.
        tables: the messages of the API.

    Raises:
        InvalidArgument: the body has both forms or neither, or its contents are no prompt.

    """
    fields = decode(tables.count_request, read(body))
    inner: Fields | None = fields.get("generate_content_request")
    if inner is None:
        return parse_prompt(fields, Site(COUNT.request), must_end_with_user=False)
    site = Site(COUNT.request, "generate_content_request.")
    if fields.get("contents"):
        raise site.refusal("contents", "contents is given here and beside it; send one of them")
    model = inner.get("model", "")
    if not model:
        raise site.refusal("model", "model is required here, such as models/x or tunedModels/x")
    if name not in (model, with_prefix(model)):
        raise site.refusal("model", f"model must be {name}, which is asked; {model[:80]!r} was given")
    for unserved in unserved_members(inner | {"generation_config": {}}):
        raise site.refusal(unserved.field, unserved.description)
    return parse_prompt(inner, site, must_end_with_user=False)


def _sampling(config: Fields) -> RequestedSampling:
    return RequestedSampling(
        temperature=config.get("temperature"),
        top_p=config.get("top_p"),
        top_k=config.get("top_k"),
        max_output_tokens=config.get("max_output_tokens"),
        candidate_count=config.get("candidate_count"),
        stop_sequences=tuple(config.get("stop_sequences", ())),
        seed=config.get("seed"),
        presence_penalty=config.get("presence_penalty"),
        frequency_penalty=config.get("frequency_penalty"),
        response_logprobs=config.get("response_logprobs", False),
        logprobs=config.get("logprobs"),
        answer_format=answer_format_of(config),
    )
