"""A request for text, and the text as it comes: turns in, chunks out."""

from dataclasses import dataclass
from enum import StrEnum

from tuningfork.domain.safety import SafetyRating, SafetySetting

MAX_STOP_SEQUENCES = 5
MAX_CANDIDATES = 8
MAX_LOGPROBS = 20
MAX_PENALTY = 2.0


class Speaker(StrEnum):
    """Who said a turn."""

    USER = "user"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation."""

    speaker: Speaker
    text: str


@dataclass(frozen=True, slots=True)
class JsonAnswer:
    """The answer is one JSON value. `schema` is a JSON Schema as JSON text; None allows any value."""

    schema: str | None = None


@dataclass(frozen=True, slots=True)
class ChoiceAnswer:
    """The answer is one of these texts."""

    choices: tuple[str, ...]


AnswerFormat = JsonAnswer | ChoiceAnswer
"""What an answer has to look like; a model can then write nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn, every value decided.

    `temperature` 0 always takes the likeliest token; `top_k` None and `top_p` 1 do not limit; `seed` None draws
    differently each time. A stop sequence is not part of the output. `presence_penalty` is taken off the logit of
    each token that the answer holds already, `frequency_penalty` once for each time it does. `logprobs` asks for the
    log probabilities of the chosen tokens and of so many of the likeliest beside each; None for none.
    """

    temperature: float
    top_p: float
    top_k: int | None
    max_output_tokens: int
    candidate_count: int = 1
    stop_sequences: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logprobs: int | None = None
    answer_format: AnswerFormat | None = None


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
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    response_logprobs: bool = False
    logprobs: int | None = None
    answer_format: AnswerFormat | None = None


class FinishReason(StrEnum):
    """Why a candidate ended."""

    STOP = "STOP"
    MAX_TOKENS = "MAX_TOKENS"
    SAFETY = "SAFETY"


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token that was or could have been chosen. `log_probability` is natural, of the model's own distribution
    (after penalties and before temperature and limits).
    """

    text: str
    token_id: int
    log_probability: float


@dataclass(frozen=True, slots=True)
class ChosenToken:
    """One chosen token and the likeliest at its place, the likeliest first."""

    chosen: TokenLogprob
    likeliest: tuple[TokenLogprob, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of one candidate. `text` is a delta and may be empty; the last chunk of a candidate has a reason.

    Token counts are those of the request so far: the prompt's, and all candidates' together. Of the prompt's,
    `cached_prompt_tokens` had been read for an earlier prompt that begins alike. `tokens` are those of this piece where
    log probabilities were asked for; text that is held back may come later than its tokens.
    `safety_ratings` are of the candidate's text so far, where a rater looks at it.
    """

    candidate: int
    text: str
    finish_reason: FinishReason | None
    prompt_tokens: int
    output_tokens: int
    cached_prompt_tokens: int = 0
    tokens: tuple[ChosenToken, ...] = ()
    safety_ratings: tuple[SafetyRating, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One call for text: what is asked, and how it should be drawn."""

    prompt: Prompt
    sampling: RequestedSampling = RequestedSampling()
    safety_settings: tuple[SafetySetting, ...] = ()
