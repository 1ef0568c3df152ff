"""Requests for text and for token counts in the Gemini API, and their answers: the shared messages in its package."""

from collections.abc import Sequence

from tuningfork.domain.conversation import Conversation
from tuningfork.domain.generation import Chunk, GenerationRequest
from tuningfork.domain.references import BaseRef
from tuningfork.domain.safety import SafetyRating
from tuningfork.wire.gemini.names import BASE_PREFIX
from tuningfork.wire.gemini.service import PACKAGE
from tuningfork.wire.google import answers, generation
from tuningfork.wire.google.answers import AnswerHead, ChunkRenderer
from tuningfork.wire.google.generation_tables import GenerationTables
from tuningfork.wire.google.packages import Package
from tuningfork.wire.google.proto_json.encode import Typed

TABLES = GenerationTables.of(Package(PACKAGE))


def parse_generate(body: bytes) -> GenerationRequest:
    """The request for text in a GenerateContentRequest; see `wire.google.generation`."""
    return generation.parse_generate(body, TABLES)


def parse_count_tokens(body: bytes, name: str) -> Conversation:
    """The prompt in a CountTokensRequest for the model of this name; see `wire.google.generation`."""
    return generation.parse_count_tokens(body, name, TABLES)


def model_version(base: BaseRef) -> str:
    """The name of the base model in answers, without `models/`."""
    return base.name.removeprefix(BASE_PREFIX)


def chunk_renderer(head: AnswerHead) -> ChunkRenderer:
    """The renderer of the chunks of one stream."""
    return ChunkRenderer(head, TABLES)


def render_answer(chunks: Sequence[Chunk], head: AnswerHead) -> Typed:
    """A whole answer, from at least one chunk."""
    return answers.render_answer(chunks, head, TABLES)


def render_blocked_prompt(ratings: Sequence[SafetyRating], prompt_tokens: int, head: AnswerHead) -> Typed:
    """The answer to a prompt that was withheld from the model."""
    return answers.render_blocked_prompt(ratings, prompt_tokens, head, TABLES)


def render_token_count(tokens: int) -> Typed:
    """The answer of countTokens."""
    return answers.render_token_count(tokens, TABLES)
