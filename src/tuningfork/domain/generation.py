"""A request for text, and the text as it comes: turns in, chunks out."""

from dataclasses import dataclass
from enum import StrEnum

MAX_STOP_SEQUENCES = 5
MAX_CANDIDATES = 8


class Speaker(StrEnum):
    """Who said a turn."""

    USER = "user"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation."""

    speaker: Speaker
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn, every value decided.

    `temperature` 0 always takes the likeliest token; `top_k` None and `top_p` 1 do not limit; `seed` None draws
    differently each time. A stop sequence is not part of the output.
    """

    temperature: float
    top_p: float
    top_k: int | None
    max_output_tokens: int
    candidate_count: int = 1
    stop_sequences: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What the model is asked: an optional system instruction, then turns, the last one the user's."""

    turns: tuple[Turn, ...]
    system_instruction: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedSampling:
    """What the caller said of sampling; None is left to the (tuned) model's defaults."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_output_tokens: int | None = None
    candidate_count: int | None = None
    stop_sequences: tuple[str, ...] = ()
    seed: int | None = None


class FinishReason(StrEnum):
    """Why a candidate ended."""

    STOP = "STOP"
    MAX_TOKENS = "MAX_TOKENS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of one candidate. `text` is a delta and may be empty; the last chunk of a candidate has a reason.

    Token counts are those of the request so far: the prompt's, and all candidates' together.
    """

    candidate: int
    text: str
    finish_reason: FinishReason | None
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One call for text: what is asked, and how it should be drawn."""

    prompt: Prompt
    sampling: RequestedSampling = RequestedSampling()
