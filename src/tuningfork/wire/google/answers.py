"""Renders chunks and token counts as answers.

Source: gemini-api sections 11.2 to 11.4; google/ai/generativelanguage/v1beta/generative_service.proto.
"""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tuningfork.domain.generation import ChosenToken, Chunk, FinishReason, TokenLogprob
from tuningfork.domain.safety import SafetyRating
from tuningfork.wire.google.generation_tables import GenerationTables
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.safety import render_prompt_feedback, render_ratings


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerHead:
    """The fields that every message of one answer has. `model_version` is the base model's id without its prefix."""

    model_version: str
    response_id: str


@dataclass(frozen=True, slots=True)
class ChunkRenderer:
    """Renders the chunks of one stream. The mean log probability of a candidate comes with its last chunk."""

    head: AnswerHead
    tables: GenerationTables
    _log_probabilities: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))

    def render(self, chunk: Chunk) -> Typed:
        """The message for the next chunk."""
        known = self._log_probabilities[chunk.candidate]
        known += [token.chosen.log_probability for token in chunk.tokens]
        average = _mean(known) if chunk.finish_reason else None
        candidate = _candidate(chunk, chunk.text, chunk.tokens, average)
        return _response([candidate], chunk, self.head, self.tables)


def render_answer(chunks: Sequence[Chunk], head: AnswerHead, tables: GenerationTables) -> Typed:
    """The whole answer: each candidate's whole text, in the order of the candidates' numbers.

    Args:
        chunks: the chunks of all candidates, at least one.
        head: the fields of the answer as a whole.
        tables: the messages of the API.

    """
    of_candidate: dict[int, list[Chunk]] = {}
    for chunk in chunks:
        of_candidate.setdefault(chunk.candidate, []).append(chunk)
    candidates = [_whole(of_candidate[number]) for number in sorted(of_candidate)]
    return _response(candidates, chunks[-1], head, tables)


def render_blocked_prompt(
    ratings: Sequence[SafetyRating], prompt_tokens: int, head: AnswerHead, tables: GenerationTables
) -> Typed:
    """The answer to a prompt that was withheld from the model: the reason, and no candidates."""
    fields = {
        "prompt_feedback": render_prompt_feedback(ratings),
        "usage_metadata": _usage(prompt_tokens, 0),
        "model_version": head.model_version,
        "response_id": head.response_id,
    }
    return Typed(tables.generate_response, fields)


def render_token_count(tokens: int, tables: GenerationTables) -> Typed:
    """The answer of countTokens."""
    fields = {"total_tokens": tokens, "prompt_tokens_details": _token_details(tokens)}
    return Typed(tables.count_response, fields)


def _whole(pieces: Sequence[Chunk]) -> dict[str, Any]:
    if pieces[-1].finish_reason is FinishReason.SAFETY:
        # If a text turned out to be harmful, not even its beginning is returned.
        return _candidate(pieces[-1], "", (), None)
    tokens = tuple(token for piece in pieces for token in piece.tokens)
    average = _mean([token.chosen.log_probability for token in tokens])
    return _candidate(pieces[-1], "".join(piece.text for piece in pieces), tokens, average)


def _candidate(chunk: Chunk, text: str, tokens: Sequence[ChosenToken], average: float | None) -> dict[str, Any]:
    withheld = chunk.finish_reason is FinishReason.SAFETY
    return {
        # There is a part even for an empty text, since google-generativeai's `.text` needs one.
        "content": None if withheld else {"parts": [{"text": text}], "role": "model"},
        "finish_reason": chunk.finish_reason and chunk.finish_reason.value,
        "index": chunk.candidate,
        "safety_ratings": render_ratings(chunk.safety_ratings),
        "avg_logprobs": average,
        "logprobs_result": _logprobs(tokens) if tokens else None,
    }


def _logprobs(tokens: Sequence[ChosenToken]) -> dict[str, Any]:
    return {
        "top_candidates": [
            {"candidates": [_token(each) for each in token.likeliest]} for token in tokens if token.likeliest
        ],
        "chosen_candidates": [_token(token.chosen) for token in tokens],
        "log_probability_sum": sum(token.chosen.log_probability for token in tokens),
    }


def _token(token: TokenLogprob) -> dict[str, Any]:
    return {"token": token.text, "token_id": token.token_id, "log_probability": token.log_probability}


def _mean(numbers: Sequence[float]) -> float | None:
    return statistics.fmean(numbers) if numbers else None


def _response(candidates: list[dict[str, Any]], chunk: Chunk, head: AnswerHead, tables: GenerationTables) -> Typed:
    fields = {
        "candidates": candidates,
        "usage_metadata": _usage(chunk.prompt_tokens, chunk.output_tokens),
        "model_version": head.model_version,
        "response_id": head.response_id,
    }
    return Typed(tables.generate_response, fields)


def _usage(prompt_tokens: int, output_tokens: int) -> dict[str, Any]:
    return {
        "prompt_token_count": prompt_tokens,
        "candidates_token_count": output_tokens,
        "total_token_count": prompt_tokens + output_tokens,
        "prompt_tokens_details": _token_details(prompt_tokens),
        "candidates_tokens_details": _token_details(output_tokens),
    }


def _token_details(tokens: int) -> list[dict[str, Any]]:
    return [{"modality": "TEXT", "token_count": tokens}] if tokens else []
