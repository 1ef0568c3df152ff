"""generateText: a prompt of one text, and the whole answer at once.

Source: gemini-api section 11.5; google/ai/generativelanguage/v1beta/text_service.proto.
"""

from collections.abc import Sequence

from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import FieldViolation
from tuningfork.domain.generation import Chunk, FinishReason, GenerationRequest, RequestedSampling
from tuningfork.domain.safety import SafetyRating
from tuningfork.wire.gemini import text_messages as messages
from tuningfork.wire.google.proto_json.decode import Fields, decode
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.proto_json.text import read
from tuningfork.wire.google.requests import RequestWords, refused
from tuningfork.wire.google.safety import parse_palm_settings, render_palm_ratings, render_safety_feedback

_SETTINGS = ("temperature", "candidate_count", "max_output_tokens", "top_p", "top_k", "stop_sequences")

GENERATE_TEXT = RequestWords(
    "GenerateTextRequest",
    {"prompt": "prompt.text", **{f"sampling.{name}": name for name in _SETTINGS}},
    method="generateText",
)
"""The request's part of errors about a `GenerationRequest` that came as a GenerateTextRequest (PaLM's method)."""


def parse_generate_text(body: bytes) -> GenerationRequest:
    """The request for text in a body. The prompt becomes one turn of the user.

    Raises:
        InvalidArgument: the body is not JSON, not a GenerateTextRequest, or has no prompt.

    """
    fields = decode(messages.GENERATE_TEXT_REQUEST, read(body))
    text = fields.get("prompt", {}).get("text", "")
    if not text:
        missing = FieldViolation(field="prompt.text", description="text is not specified")
        raise refused(GENERATE_TEXT.request, (missing,))
    return GenerationRequest(
        prompt=Conversation(turns=(Turn.said(Speaker.USER, text),)),
        sampling=_sampling(fields),
        safety_settings=parse_palm_settings(fields.get("safety_settings", ())),
    )


def render_text_answer(chunks: Sequence[Chunk]) -> Typed:
    """The candidates in the order of their numbers. For a withheld candidate there is only the reason (`filters`).

    Args:
        chunks: the chunks of all candidates, at least one.

    """
    outputs: dict[int, str] = {}
    last: dict[int, Chunk] = {}
    for chunk in chunks:
        outputs[chunk.candidate] = outputs.get(chunk.candidate, "") + chunk.text
        last[chunk.candidate] = chunk
    withheld = [chunk for chunk in last.values() if chunk.finish_reason is FinishReason.SAFETY]
    shown = sorted(outputs.keys() - {chunk.candidate for chunk in withheld})
    fields = {
        "candidates": [
            {"output": outputs[number], "safety_ratings": render_palm_ratings(last[number].safety_ratings)}
            for number in shown
        ],
        "filters": [{"reason": "SAFETY"}] * len(withheld),
        "safety_feedback": [each for chunk in withheld for each in render_safety_feedback(chunk.safety_ratings)],
    }
    return Typed(messages.GENERATE_TEXT_RESPONSE, fields)


def render_blocked_text(ratings: Sequence[SafetyRating]) -> Typed:
    """The answer to a prompt that was withheld from the model."""
    fields = {"filters": [{"reason": "SAFETY"}], "safety_feedback": render_safety_feedback(ratings)}
    return Typed(messages.GENERATE_TEXT_RESPONSE, fields)


def _sampling(fields: Fields) -> RequestedSampling:
    return RequestedSampling(
        temperature=fields.get("temperature"),
        top_p=fields.get("top_p"),
        top_k=fields.get("top_k"),
        max_output_tokens=fields.get("max_output_tokens"),
        candidate_count=fields.get("candidate_count"),
        stop_sequences=tuple(fields.get("stop_sequences", ())),
    )
