"""Inference: requests for text and token counts inward, chunks and answers outward.

Source: gemini-api section 11; google/ai/generativelanguage/v1beta/generative_service.proto.
"""

from collections.abc import Sequence
from typing import Any

from tuningfork.domain.generation import Chunk, GenerationRequest, Prompt, RequestedSampling
from tuningfork.wire.errors import Relocation
from tuningfork.wire.gemini import generation_messages as messages
from tuningfork.wire.gemini.prompts import Site, parse_prompt
from tuningfork.wire.gemini.served import refuse_unserved
from tuningfork.wire.proto_json.decode import Fields, decode
from tuningfork.wire.proto_json.encode import Typed
from tuningfork.wire.proto_json.text import read

GENERATE = Relocation(
    "GenerateContentRequest",
    {"prompt": "contents", "prompt.system_instruction": "system_instruction", "sampling": "generation_config"},
    {},
)
"""Where the fields of a `GenerationRequest` sit in a request for text."""

COUNT = Relocation("CountTokensRequest", {"prompt": "contents"}, {})
"""Where the fields of a `Prompt` sit in a request to count."""


def parse_generate(body: bytes, name: str) -> GenerationRequest:
    """The request for text that a body holds.

    Args:
        body: a GenerateContentRequest; its own `model` does not count.
        name: the resource that is asked, `models/x` or `tunedModels/x`, for the messages.

    Raises:
        InvalidArgument: no JSON, no GenerateContentRequest, or one that asks for what is not served.

    """
    fields = decode(messages.GENERATE_CONTENT_REQUEST, read(body))
    refuse_unserved(fields, name)
    prompt = parse_prompt(fields, Site(GENERATE.request), must_end_with_user=True)
    return GenerationRequest(prompt=prompt, sampling=_sampling(fields.get("generation_config", {})))


def parse_count_tokens(body: bytes) -> Prompt:
    """The prompt whose tokens are to be counted: bare contents, or a whole request for text.

    Raises:
        InvalidArgument: both forms at once, neither, or contents that are no prompt.

    """
    fields = decode(messages.COUNT_TOKENS_REQUEST, read(body))
    inner = fields.get("generate_content_request")
    if inner is None:
        return parse_prompt(fields, Site(COUNT.request), must_end_with_user=False)
    site = Site(COUNT.request, "generate_content_request.")
    if fields.get("contents"):
        raise site.refusal("contents", "contents is given here and beside it; send one of them")
    if not inner.get("model"):
        raise site.refusal("model", "model is required here, such as models/x or tunedModels/x")
    return parse_prompt(inner, site, must_end_with_user=False)


def render_chunk(chunk: Chunk, model_version: str) -> Typed:
    """One piece of a stream."""
    candidate = _candidate(chunk.candidate, chunk.text, chunk)
    return _response([candidate], chunk, model_version)


def render_answer(chunks: Sequence[Chunk], model_version: str) -> Typed:
    """All pieces put together: each candidate's whole text, in the order of their numbers.

    Args:
        chunks: at least one.
        model_version: the base model's id without its prefix.

    """
    texts: dict[int, list[str]] = {}
    last: dict[int, Chunk] = {}
    for chunk in chunks:
        texts.setdefault(chunk.candidate, []).append(chunk.text)
        last[chunk.candidate] = chunk
    candidates = [_candidate(number, "".join(texts[number]), last[number]) for number in sorted(texts)]
    return _response(candidates, chunks[-1], model_version)


def render_token_count(tokens: int) -> Typed:
    """The answer of countTokens."""
    details = [{"modality": "TEXT", "token_count": tokens}] if tokens else []
    return Typed(messages.COUNT_TOKENS_RESPONSE, {"total_tokens": tokens, "prompt_tokens_details": details})


def _sampling(config: Fields) -> RequestedSampling:
    return RequestedSampling(
        temperature=config.get("temperature"),
        top_p=config.get("top_p"),
        top_k=config.get("top_k"),
        max_output_tokens=config.get("max_output_tokens"),
        candidate_count=config.get("candidate_count"),
        stop_sequences=tuple(config.get("stop_sequences", ())),
        seed=config.get("seed"),
    )


def _candidate(number: int, text: str, chunk: Chunk) -> dict[str, Any]:
    return {
        # A part even for an empty text: google-generativeai's `.text` wants one.
        "content": {"parts": [{"text": text}], "role": "model"},
        "finish_reason": chunk.finish_reason and chunk.finish_reason.value,
        "index": number,
    }


def _response(candidates: list[dict[str, Any]], chunk: Chunk, model_version: str) -> Typed:
    fields = {
        "candidates": candidates,
        "usage_metadata": {
            "prompt_token_count": chunk.prompt_tokens,
            "candidates_token_count": chunk.output_tokens,
            "total_token_count": chunk.prompt_tokens + chunk.output_tokens,
        },
        "model_version": model_version,
    }
    return Typed(messages.GENERATE_CONTENT_RESPONSE, fields)
