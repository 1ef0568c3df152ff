"""A request for text, which has a conversation, and the chunks of the generated text."""

from dataclasses import dataclass
from enum import StrEnum

from tuningfork.domain.conversation import Conversation
from tuningfork.domain.safety import SafetyRating, SafetySetting

MAX_STOP_SEQUENCES = 5
MAX_CANDIDATES = 8
MAX_LOGPROBS = 20
MAX_PENALTY = 2.0


@dataclass(frozen=True, slots=True)
class JsonAnswer:
    """The answer is one JSON value. `schema` is a JSON Schema as JSON text; None: any value."""

    schema: str | None = None


@dataclass(frozen=True, slots=True)
class ChoiceAnswer:
    """The answer is one of these texts."""

    choices: tuple[str, ...]


AnswerFormat = JsonAnswer | ChoiceAnswer
"""The format of an answer; the model is prevented from generating anything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are sampled, with all defaults filled in.

    `temperature` 0: always the likeliest token; `top_k` None and `top_p` 1: no limit; `seed` None: another result each
    time. A stop sequence is not part of the output. `presence_penalty` is subtracted from the logit of each token that
    is in the answer already, `frequency_penalty` once for each occurrence. `logprobs` is the number of likeliest tokens
    to report for each chosen token, all with log probabilities; None: no log probabilities.
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
class RequestedSampling:
    """The sampling values that the caller gave; None means the (tuned) model's default. `top_k` 0 means no limit."""

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
    """A token, chosen or considered, with its log probability.

    `log_probability` is a natural logarithm, taken after penalties and before temperature, top_k and top_p.
    """

    text: str
    token_id: int
    log_probability: float


@dataclass(frozen=True, slots=True)
class ChosenToken:
    """One chosen token, and the likeliest tokens at its position, the likeliest first."""

    chosen: TokenLogprob
    likeliest: tuple[TokenLogprob, ...]


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """The tokens of a text, without what a chat template writes around it: their ids, and the bytes of each."""

    ids: tuple[int, ...]
    pieces: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The next part of one candidate. `text` may be empty; the last chunk of a candidate has a finish reason.

    The token counts are those of the request so far: the prompt's, and those of all candidates together.
    `cached_prompt_tokens` of the prompt's tokens were in the prefix cache. `tokens` are the chunk's tokens if log
    probabilities were requested; text that is held back may come in a later chunk than its tokens. `safety_ratings` are
    of the candidate's text so far, if texts are rated.
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
    """A request for text: the prompt, and the requested sampling."""

    prompt: Conversation
    sampling: RequestedSampling = RequestedSampling()
    safety_settings: tuple[SafetySetting, ...] = ()
