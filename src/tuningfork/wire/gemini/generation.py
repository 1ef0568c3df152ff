"""Requests for text and for token counts: bodies inward. Answers are rendered in `answers`.

Source: gemini-api section 11; google/ai/generativelanguage/v1beta/generative_service.proto.
"""

from tuningfork.domain.base_model import with_prefix
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.generation import GenerationRequest, Prompt, RequestedSampling
from tuningfork.wire.errors import Relocation
from tuningfork.wire.gemini import generation_messages as messages
from tuningfork.wire.gemini.answer_formats import answer_format_of, violations_of_format
from tuningfork.wire.gemini.prompts import Site, parse_prompt
from tuningfork.wire.gemini.safety import parse_safety_settings
from tuningfork.wire.gemini.served import unserved_members
from tuningfork.wire.proto_json.decode import Fields, decode
from tuningfork.wire.proto_json.text import read

GENERATE = Relocation(
    "GenerateContentRequest",
    {
        "prompt": "contents",
        "prompt.system_instruction": "system_instruction",
        "sampling": "generation_config",
        "sampling.answer_format": "generation_config.response_schema",
    },
    {},
)
"""Where the fields of a `GenerationRequest` sit in a request for text."""

COUNT = Relocation("CountTokensRequest", {"prompt": "contents"}, {})
"""Where the fields of a `Prompt` sit in a request to count."""


def parse_generate(body: bytes) -> GenerationRequest:
    """The request for text that a body holds.

    Args:
        body: a GenerateContentRequest; its own `model` does not count.

    Raises:
        InvalidArgument: no JSON, no GenerateContentRequest, or one that asks for what is not served.

    """
    fields = decode(messages.GENERATE_CONTENT_REQUEST, read(body))
    config: Fields = fields.get("generation_config", {})
    if found := (*unserved_members(fields), *violations_of_format(config)):
        raise InvalidArgument.of(GENERATE.request, found)
    settings = parse_safety_settings(fields.get("safety_settings", ()))
    prompt = parse_prompt(fields, Site(GENERATE.request), must_end_with_user=True)
    return GenerationRequest(prompt=prompt, sampling=_sampling(config), safety_settings=settings)


def parse_count_tokens(body: bytes, name: str) -> Prompt:
    """The prompt whose tokens are to be counted: bare contents, or a whole request for text.

    Args:
        body: a CountTokensRequest.
        name: the resource that is asked, `models/x` or `tunedModels/x`; a request for another model is refused, since
            its tokens are others.

    Raises:
        InvalidArgument: both forms at once, neither, or contents that are no prompt.

    """
    fields = decode(messages.COUNT_TOKENS_REQUEST, read(body))
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
