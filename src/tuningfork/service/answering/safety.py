"""Withholds harmful text: a rater assesses prompts and answers, and text at or above a threshold is not passed on."""

import logging
from collections.abc import AsyncGenerator, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from tuningfork.domain.conversation import Conversation, Speaker
from tuningfork.domain.errors import Code, FieldViolation, InvalidArgument, Reason, TuningforkError, Unavailable
from tuningfork.domain.generation import ChosenToken, Chunk, FinishReason, GenerationRequest
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
    """How this server rates texts for harm. Without a rater (None), texts are neither rated nor withheld.

    Args:
        rater: assesses texts; None if the operator turned rating off.
        default_threshold: the threshold of a category that the request does not name.
        metrics: counts withheld prompts and answers.

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

    def screening(self, request: GenerationRequest, owner: str = "") -> "Screening | None":
        """The screening of one request's texts; None if this server or the request wants no ratings.

        `owner` is whoever sent the request.

        Raises:
            InvalidArgument: the request sets a threshold for a category that no rater here assesses.

        """
        if self._rater is None:
            return None
        unrated = tuple(_unrated(request.safety_settings))
        if unrated:
            raise InvalidArgument(violations=unrated)
        wanted = {setting.category: setting.threshold for setting in request.safety_settings}
        thresholds = {category: wanted.get(category, self._default_threshold) for category in HarmCategory}
        rated = {category: each for category, each in thresholds.items() if each is not BlockThreshold.OFF}
        return Screening(self._rater, rated, self._metrics, request.prompt.turns[-1].text, owner) if rated else None


def _unrated(settings: tuple[SafetySetting, ...]) -> Iterator[FieldViolation]:
    for index, setting in enumerate(settings):
        if isinstance(setting.category, UnratedCategory) and setting.threshold.is_active:
            described = (
                f"no text is rated for {setting.category} here, so {setting.threshold} cannot be kept; leave the "
                f"category out, or set it to {BlockThreshold.BLOCK_NONE} or {BlockThreshold.OFF}"
            )
            at = f"safety_settings[{index}].category"
            yield FieldViolation(field=at, description=described, reason=Reason.NOT_ALLOWED)


@dataclass(frozen=True, slots=True)
class Screening:
    """Rates the texts of one request and applies its thresholds. Categories whose threshold is OFF are left out."""

    _rater: SafetyRater
    _thresholds: Mapping[HarmCategory, BlockThreshold]
    _metrics: Metrics | None
    _asked: str
    _owner: str

    async def blocked_prompt(self, prompt: Conversation) -> Ratings | None:
        """The ratings of the prompt if a threshold withholds it from the model; None if the model may see the prompt.

        Raises:
            Unavailable: the prompt could not be rated.

        """
        texts = [prompt.system_instruction or "", *(turn.text for turn in prompt.turns)]
        passage = Passage(text="\n".join(filter(None, texts)), speaker=Speaker.USER)
        assessment = await self.known(self._rater.rate(passage, owner=self._owner))
        ratings = self.ratings(assessment)
        if not _any_blocked(ratings):
            return None
        self._count("prompt", ratings)
        return ratings

    async def watch(self, chunks: AsyncGenerator[Chunk, int | None]) -> AsyncGenerator[Chunk, None]:
        """Add ratings to chunks and withhold harmful text: the candidate ends with the finish reason SAFETY.

        Text that the rater has not assessed yet is delayed. Closing this generator closes `chunks`.

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
                    candidates[chunk.candidate] = _Candidate(self, self._rater.follow(self._asked, owner=self._owner))
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
        """Wait for the rater's result; None if the rater fails and no threshold of this request can withhold a text.

        Raises:
            Unavailable: the rater fails, and some threshold can withhold a text.

        """
        try:
            return await rating
        except TuningforkError as error:
            if error.code not in (Code.INTERNAL, Code.UNAVAILABLE):
                raise
            logger.error("a text could not be rated: %s", error, extra={"action": "rating_failed"})  # noqa: TRY400
            if not any(threshold.is_active for threshold in self._thresholds.values()):
                return None
            raise Unavailable(
                "The text could not be rated for safety, so it is withheld. Please try again later, or set every "
                "category of safety_settings to BLOCK_NONE or OFF."
            ) from error

    def ratings(self, assessment: Assessment | None) -> Ratings:
        """The rating of each category for this assessment, in the order of the categories; none for None."""
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
    """One candidate's text that has not been assessed yet, with the log probabilities of its tokens."""

    screening: Screening
    follower: Follower
    held_text: str = ""
    held_tokens: list[tuple[int, tuple[ChosenToken, ...]]] = field(default_factory=list)
    shown: int = 0

    async def take(self, chunk: Chunk) -> Chunk | None:
        """Add a chunk; return a chunk with the text that may be passed on now, or None if there is none yet."""
        last = chunk.finish_reason is not None
        self.held_text += chunk.text
        self.held_tokens.append((self.shown + len(self.held_text), chunk.tokens))
        assessed = await self.screening.known(self.follower.add(chunk.text, last=last))
        ratings = self.screening.ratings(assessed.assessment if assessed else None)
        if _any_blocked(ratings):
            return replace(chunk, text="", finish_reason=FinishReason.SAFETY, tokens=(), safety_ratings=ratings)
        text, tokens = self._let_go(assessed.held if assessed else 0)
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
