"""What is done about harm: prompts and answers are rated before anybody sees them, and withheld from thresholds on."""

import logging
from collections.abc import AsyncGenerator, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from tuningfork.domain.errors import FieldViolation, InvalidArgument, RpcCode, TuningforkError, Unavailable
from tuningfork.domain.generation import ChosenToken, Chunk, FinishReason, GenerationRequest, Prompt, Speaker
from tuningfork.domain.rater import Passage
from tuningfork.domain.safety import (
    DEFAULT_THRESHOLD,
    Assessment,
    BlockThreshold,
    HarmCategory,
    SafetyRating,
    SafetySetting,
    UnratedCategory,
)
from tuningfork.safety.base import Follower, SafetyRater
from tuningfork.service.metrics import Metrics

logger = logging.getLogger(__name__)

Ratings = tuple[SafetyRating, ...]
Known = TypeVar("Known")


class Safety:
    """Who rates texts on this server. `rater` None: nobody, and then nothing is said or done about harm.

    Args:
        rater: looks at texts.
        default_threshold: of categories that a request does not name.
        metrics: counts what is withheld.

    """

    def __init__(
        self,
        rater: SafetyRater | None = None,
        *,
        default_threshold: BlockThreshold = DEFAULT_THRESHOLD,
        metrics: Metrics | None = None,
    ) -> None:
        self._rater = rater
        self._default_threshold = default_threshold
        self._metrics = metrics

    def screening(self, request: GenerationRequest) -> "Screening | None":
        """How the texts of one request are looked at; None if they are not.

        Raises:
            InvalidArgument: the request wants to be kept from a kind of harm that no rater looks for.

        """
        if self._rater is None:
            return None
        unrated = tuple(_unrated(request.safety_settings))
        if unrated:
            raise InvalidArgument.of("GenerationRequest", unrated)
        wanted = {setting.category: setting.threshold for setting in request.safety_settings}
        thresholds = {category: wanted.get(category, self._default_threshold) for category in HarmCategory}
        rated = {category: each for category, each in thresholds.items() if each is not BlockThreshold.OFF}
        return Screening(self._rater, rated, self._metrics, request.prompt.turns[-1].text) if rated else None


def _unrated(settings: tuple[SafetySetting, ...]) -> Iterator[FieldViolation]:
    for index, setting in enumerate(settings):
        if isinstance(setting.category, UnratedCategory) and setting.threshold.is_active:
            reason = (
                f"no text is rated for {setting.category} here, so {setting.threshold} cannot be kept; leave the "
                f"category out, or set it to {BlockThreshold.BLOCK_NONE} or {BlockThreshold.OFF}"
            )
            yield FieldViolation(field=f"safety_settings[{index}].category", description=reason)


@dataclass(frozen=True, slots=True)
class Screening:
    """The thresholds of one request, and who looks. Categories that are OFF are not among them."""

    _rater: SafetyRater
    _thresholds: Mapping[HarmCategory, BlockThreshold]
    _metrics: Metrics | None
    _asked: str

    async def blocked_prompt(self, prompt: Prompt) -> Ratings | None:
        """The ratings of a prompt that is withheld from the model; None lets it pass.

        Raises:
            Unavailable: it could not be rated.

        """
        texts = [prompt.system_instruction or "", *(turn.text for turn in prompt.turns)]
        passage = Passage(text="\n".join(filter(None, texts)), speaker=Speaker.USER)
        assessment = await self.known(self._rater.rate(passage))
        ratings = self.ratings(assessment)
        if not _any_blocked(ratings):
            return None
        self._count("prompt", ratings)
        return ratings

    async def watch(self, chunks: AsyncGenerator[Chunk, int | None]) -> AsyncGenerator[Chunk, None]:
        """The chunks with their ratings, as far as they may be seen; a candidate that may not ends with SAFETY.

        Text that is not judged yet comes later. Closing this closes the chunks.

        Raises:
            Unavailable: a text could not be rated.

        """
        candidates: dict[int, _Candidate] = {}
        ended: set[int] = set()
        unwanted: int | None = None
        try:
            while (chunk := await _next(chunks, unwanted)) is not None:
                unwanted = None
                if chunk.candidate in ended:
                    continue
                if chunk.candidate not in candidates:
                    candidates[chunk.candidate] = _Candidate(self, self._rater.follow(self._asked))
                shown = await candidates[chunk.candidate].take(chunk)
                if shown is None:
                    continue
                if shown.finish_reason is FinishReason.SAFETY:
                    self._count("candidate", shown.safety_ratings)
                    ended.add(chunk.candidate)
                    unwanted = chunk.candidate
                yield shown
        finally:
            await chunks.aclose()

    async def known(self, rating: Coroutine[Any, Any, Known]) -> Known | None:
        """What a rater says; None if it fails and nothing would be withheld anyway.

        Raises:
            Unavailable: it fails, and there is a threshold to keep.

        """
        try:
            return await rating
        except TuningforkError as error:
            if error.code not in (RpcCode.INTERNAL, RpcCode.UNAVAILABLE):
                raise
            logger.error("a text could not be rated: %s", error, extra={"action": "rating_failed"})  # noqa: TRY400
            if not any(threshold.is_active for threshold in self._thresholds.values()):
                return None
            raise Unavailable(
                "The text could not be rated for safety, so it is withheld. Please try again later, or set every "
                "category of safety_settings to BLOCK_NONE or OFF."
            ) from error

    def ratings(self, assessment: Assessment | None) -> Ratings:
        """An assessment as it is told, in the order of the categories; nothing if there is none."""
        if assessment is None:
            return ()
        return tuple(
            SafetyRating(category, assessment[category], threshold.blocks(assessment[category]), threshold)
            for category, threshold in self._thresholds.items()
        )

    def _count(self, what: str, ratings: Ratings) -> None:
        if self._metrics is not None:
            for rating in ratings:
                if rating.blocked:
                    self._metrics.blocked_texts.labels(what, rating.category.name.lower()).inc()


async def _next(chunks: AsyncGenerator[Chunk, int | None], unwanted: int | None) -> Chunk | None:
    try:
        return await chunks.asend(unwanted)
    except StopAsyncIteration:
        return None


def _any_blocked(ratings: Ratings) -> bool:
    return any(rating.blocked for rating in ratings)


@dataclass(slots=True)
class _Candidate:
    """One candidate's text between its rater and its reader. Details of tokens wait until their text is let go."""

    screening: Screening
    follower: Follower
    held_text: str = ""
    held_tokens: list[tuple[int, tuple[ChosenToken, ...]]] = field(default_factory=list)
    shown: int = 0

    async def take(self, chunk: Chunk) -> Chunk | None:
        """What may be seen once this chunk has come; None for nothing yet."""
        last = chunk.finish_reason is not None
        self.held_text += chunk.text
        self.held_tokens.append((self.shown + len(self.held_text), chunk.tokens))
        verdict = await self.screening.known(self.follower.add(chunk.text, last=last))
        ratings = self.screening.ratings(verdict.assessment if verdict else None)
        if _any_blocked(ratings):
            return replace(chunk, text="", finish_reason=FinishReason.SAFETY, tokens=(), safety_ratings=ratings)
        text, tokens = self._let_go(verdict.held if verdict else 0)
        if not (text or tokens or last):
            return None
        return replace(chunk, text=text, tokens=tokens, safety_ratings=ratings)

    def _let_go(self, held: int) -> tuple[str, tuple[ChosenToken, ...]]:
        free = max(0, len(self.held_text) - held)
        text, self.held_text = self.held_text[:free], self.held_text[free:]
        self.shown += free
        tokens = tuple(token for end, each in self.held_tokens if end <= self.shown for token in each)
        self.held_tokens = [(end, each) for end, each in self.held_tokens if end > self.shown]
        return text, tokens
