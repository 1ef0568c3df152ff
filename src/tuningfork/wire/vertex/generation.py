"""Requests for text and for tokens in Vertex AI's API, and the answers to them.

Source: vertex-api section 8; google/cloud/aiplatform/v1/{prediction_service,llm_utility_service}.proto. What differs
from the Gemini API: roles in any case, a `top_k` that is a float, safety categories for images, labels, and the tokens
of a text with their bytes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tuningfork.domain.conversation import Conversation
from tuningfork.domain.errors import FieldViolation
from tuningfork.domain.generation import Chunk, GenerationRequest, TokenizedText
from tuningfork.domain.safety import SafetyRating
from tuningfork.wire.google import answers, generation
from tuningfork.wire.google.answers import AnswerHead
from tuningfork.wire.google.generation_tables import GenerationTables
from tuningfork.wire.google.prompts import Site, parse_prompt
from tuningfork.wire.google.proto_json.decode import Fields, decode
from tuningfork.wire.google.proto_json.descriptors import Message
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.proto_json.text import read
from tuningfork.wire.google.requests import RequestWords, refused
from tuningfork.wire.vertex import generation_messages as messages
from tuningfork.wire.vertex.packages import PACKAGES, VERSIONS

COMPUTE = RequestWords("ComputeTokensRequest", {"prompt": "contents"}, method="computeTokens")
"""The request's part of errors about texts whose tokens are asked for."""

_UNRATED = (
    *("HARM_CATEGORY_JAILBREAK", "HARM_CATEGORY_IMAGE_HATE", "HARM_CATEGORY_IMAGE_DANGEROUS_CONTENT"),
    *("HARM_CATEGORY_IMAGE_HARASSMENT", "HARM_CATEGORY_IMAGE_SEXUALLY_EXPLICIT"),
)
"""Categories that no text is rated in: their settings change nothing."""

_UNSERVED = {
    "model_armor_config": "this server has no Model Armor templates; send safety_settings",
    "output_config": "answers are not written to buckets; leave it out, and take the answer",
    "continuation_token": "this server gives no continuation tokens; send the whole conversation in contents",
}
_UNSERVED_SETTINGS = {
    "routing_config": "this server routes no request to another model; name the model in the path",
    "response_format": "send response_mime_type, and response_schema or response_json_schema",
    "translation_config": "this server translates no speech; ask for a translation in contents",
}
_UNSERVED_OF_SCHEMAS = ("additional_properties", "ref", "defs")


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexTables:
    """The messages of generation under the names of one version of the API."""

    generation: GenerationTables
    compute_request: Message
    compute_response: Message

    @classmethod
    def of(cls, version: str) -> "VertexTables":
        """The tables of a version: `v1` or `v1beta1`."""
        package = PACKAGES[version]
        return cls(
            generation=GenerationTables(
                generate_request=package.message(messages.GENERATE_CONTENT_REQUEST),
                generate_response=package.message(messages.GENERATE_CONTENT_RESPONSE),
                count_request=package.message(messages.COUNT_TOKENS_REQUEST),
                count_response=package.message(messages.COUNT_TOKENS_RESPONSE),
            ),
            compute_request=package.message(messages.COMPUTE_TOKENS_REQUEST),
            compute_response=package.message(messages.COMPUTE_TOKENS_RESPONSE),
        )


TABLES = {version: VertexTables.of(version) for version in VERSIONS}
"""The messages of each version of the API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenTexts:
    """The texts whose tokens are asked for, and whose turn each one is (`user` or `model`)."""

    roles: tuple[str, ...]
    texts: tuple[str, ...]


def parse_generate(body: bytes, tables: VertexTables) -> GenerationRequest:
    """The request for text in a GenerateContentRequest; `model` in it is passed over, since the path names the model.

    Raises:
        InvalidArgument: the body is not JSON, not a GenerateContentRequest, or asks for something that is not served.

    """
    fields = _with_small_roles(decode(tables.generation.generate_request, read(body)))
    if config := fields.get("generation_config"):
        fields["generation_config"] = {**config, "top_k": _whole(config.get("top_k"))}
    settings = [each for each in fields.get("safety_settings", ()) if each.get("category") not in _UNRATED]
    return generation.generation_request({**fields, "safety_settings": settings}, tuple(_unserved(fields)))


def parse_count_tokens(body: bytes, tables: VertexTables) -> Conversation:
    """The prompt in a CountTokensRequest.

    Raises:
        InvalidArgument: the body is no such request, has no contents, or they are no prompt.

    """
    request = generation.COUNT.request
    fields = _with_small_roles(decode(tables.generation.count_request, read(body)))
    found = tuple(_no_prompts(fields))
    if fields.get("tools"):
        found += (FieldViolation(field="tools", description="this server calls no tools; leave them out"),)
    if found:
        raise refused(request, found)
    return parse_prompt(fields, Site(request), must_end_with_user=False)


def parse_compute_tokens(body: bytes, tables: VertexTables) -> SpokenTexts:
    """The texts in a ComputeTokensRequest: each content's, its parts joined.

    Raises:
        InvalidArgument: the body is no such request, has no contents, or a part is not text.

    """
    fields = _with_small_roles(decode(tables.compute_request, read(body)))
    if found := tuple(_no_prompts(fields)):
        raise refused(COMPUTE.request, found)
    site = Site(COMPUTE.request)
    contents: list[Fields] = fields.get("contents", [])
    # One by one: neighbours of one role are one turn of a prompt, and have tokens of their own here.
    spoken = [parse_prompt({"contents": [content]}, site, must_end_with_user=False) for content in contents]
    if not spoken:
        raise site.bare_refusal("contents", "contents is not specified")
    turns = [turn for each in spoken for turn in each.turns]
    return SpokenTexts(roles=tuple(turn.speaker.value for turn in turns), texts=tuple(turn.text for turn in turns))


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexHead:
    """The fields that every message of one answer has. `created` is when the request came."""

    model_version: str
    response_id: str
    created: datetime

    @property
    def shared(self) -> AnswerHead:
        """Those that the Gemini API has too."""
        return AnswerHead(model_version=self.model_version, response_id=self.response_id)


class ChunkRenderer:
    """Renders the chunks of one stream."""

    def __init__(self, head: VertexHead, tables: VertexTables) -> None:
        self._head = head
        self._chunks = answers.ChunkRenderer(head.shared, tables.generation)

    def render(self, chunk: Chunk) -> Typed:
        """The message for the next chunk."""
        return _completed(self._chunks.render(chunk), self._head)


def render_answer(chunks: Sequence[Chunk], head: VertexHead, tables: VertexTables) -> Typed:
    """A whole answer, from at least one chunk."""
    return _completed(answers.render_answer(chunks, head.shared, tables.generation), head)


def render_blocked_prompt(
    ratings: Sequence[SafetyRating], prompt_tokens: int, head: VertexHead, tables: VertexTables
) -> Typed:
    """The answer to a prompt that was withheld from the model."""
    return _completed(answers.render_blocked_prompt(ratings, prompt_tokens, head.shared, tables.generation), head)


def render_token_count(tokens: int, prompt: Conversation, tables: VertexTables) -> Typed:
    """The answer of countTokens. Billable characters are those of the prompt that are no white space."""
    counted = answers.render_token_count(tokens, tables.generation)
    texts = (prompt.system_instruction or "", *(turn.text for turn in prompt.turns))
    characters = sum(len("".join(text.split())) for text in texts)
    return Typed(counted.message, {**counted.fields, "total_billable_characters": characters})


def render_tokens(spoken: SpokenTexts, tokenized: Sequence[TokenizedText], tables: VertexTables) -> Typed:
    """The answer of computeTokens: the ids and the bytes of each text's tokens."""
    infos = [
        {"role": role, "token_ids": list(text.ids), "tokens": list(text.pieces)}
        for role, text in zip(spoken.roles, tokenized, strict=True)
    ]
    return Typed(tables.compute_response, {"tokens_info": infos})


def _completed(answer: Typed, head: VertexHead) -> Typed:
    usage = {**answer.fields["usage_metadata"], "traffic_type": "ON_DEMAND"}
    return Typed(answer.message, {**answer.fields, "usage_metadata": usage, "create_time": head.created})


def _with_small_roles(fields: Fields) -> Fields:
    """The message with its roles in small letters: Google's samples send `USER`."""
    contents = [
        {**each, "role": each["role"].lower()} if "role" in each else each for each in fields.get("contents", ())
    ]
    return {**fields, "contents": contents}


def _whole(top_k: float | None) -> Any:
    """The number as an integer if it is one: on the wire it is a float."""
    return int(top_k) if top_k is not None and top_k.is_integer() else top_k


def _unserved(fields: Fields) -> Iterator[FieldViolation]:
    for name, reason in _UNSERVED.items():
        if fields.get(name):
            yield FieldViolation(field=name, description=f"{name} is not served: {reason}")
    config: Fields = fields.get("generation_config", {})
    for name, reason in _UNSERVED_SETTINGS.items():
        if config.get(name):
            yield FieldViolation(field=f"generation_config.{name}", description=f"{name} is not served: {reason}")
    level = config.get("thinking_config", {}).get("thinking_level", "MINIMAL")
    if level not in ("MINIMAL", "THINKING_LEVEL_UNSPECIFIED"):
        reason = f"models of this server answer without thinking; leave it out or send MINIMAL instead of {level}"
        yield FieldViolation(field="generation_config.thinking_config.thinking_level", description=reason)
    if isinstance(top_k := config.get("top_k"), float):
        reason = f"top_k must be a whole number of tokens; {top_k:g} was given"
        yield FieldViolation(field="generation_config.top_k", description=reason)
    yield from _unserved_in(config.get("response_schema") or {}, "generation_config.response_schema")


def _unserved_in(schema: Fields, where: str) -> Iterator[FieldViolation]:
    """Members of a Schema, and of those in it, that only a JSON Schema can have here."""
    for name in _UNSERVED_OF_SCHEMAS:
        if schema.get(name) not in (None, "", {}):
            reason = f"{name} is not served in a response_schema; send the schema as response_json_schema"
            yield FieldViolation(field=f"{where}.{name}", description=reason)
    inner = [("items", schema["items"])] if "items" in schema else []
    inner += [(f"any_of[{index}]", each) for index, each in enumerate(schema.get("any_of", ()))]
    inner += [(f"properties[{index}].value", each) for index, each in enumerate(schema.get("properties", {}).values())]
    for name, each in inner:
        yield from _unserved_in(each, f"{where}.{name}")


def _no_prompts(fields: Fields) -> Iterator[FieldViolation]:
    if fields.get("instances"):
        yield FieldViolation(field="instances", description="instances are not taken; send contents instead")
