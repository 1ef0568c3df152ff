"""Candidates between their rater and their reader."""

import asyncio
from dataclasses import dataclass, field

import pytest

from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import InternalError, InvalidArgument, Unavailable
from tuningfork.domain.generation import ChosenToken, Chunk, FinishReason, GenerationRequest, TokenLogprob
from tuningfork.domain.safety import (
    HARMLESS,
    Assessment,
    BlockThreshold,
    HarmCategory,
    HarmProbability,
    SafetySetting,
    UnratedCategory,
)
from tuningfork.safety.base import PartialAssessment
from tuningfork.service.answering.safety import Safety

HARASSMENT = HarmCategory.HARASSMENT


@dataclass
class Reader:
    """A rater to whom `!` is harassment, and who waits for what comes after `?`."""

    error: Exception | None = None
    asked: list[str] = field(default_factory=list)
    owners: set[str] = field(default_factory=set)

    async def rate(self, passage, *, owner=""):
        return (await self.follow("", owner=owner).add(passage.text, last=True)).assessment

    def follow(self, asked, *, owner=""):
        self.asked.append(asked)
        self.owners.add(owner)
        return ReadText(self)


class ReadText:
    def __init__(self, reader):
        self.reader = reader
        self.text = ""

    async def add(self, text, *, last):
        if self.reader.error is not None:
            raise self.reader.error
        self.text += text
        found = {HARASSMENT: HarmProbability.HIGH} if "!" in self.text else {}
        waits = self.text.find("?")
        return PartialAssessment(
            assessment=Assessment.of(found), held=0 if last or waits < 0 else len(self.text) - waits
        )


class Generated:
    """Chunks that come one by one, and what was sent back between them."""

    def __init__(self, *chunks):
        self.unwanted = []
        self.closed = False
        self.chunks = self._come(chunks)

    async def _come(self, chunks):
        try:
            for chunk in chunks:
                unwanted = yield chunk
                if unwanted is not None:
                    self.unwanted.append(unwanted)
        finally:
            self.closed = True


def chunk(text, *, candidate=0, last=False, tokens=()):
    return Chunk(
        candidate=candidate,
        text=text,
        finish_reason=FinishReason.STOP if last else None,
        prompt_tokens=1,
        output_tokens=1,
        tokens=tuple(token(each) for each in tokens),
    )


def token(text):
    return ChosenToken(TokenLogprob(text, 1, -0.5), ())


def request(*settings):
    prompt = Conversation(
        turns=(Turn.said(Speaker.USER, "first"), Turn.said(Speaker.MODEL, "yes"), Turn.said(Speaker.USER, "second"))
    )
    return GenerationRequest(prompt=prompt, safety_settings=tuple(SafetySetting(*each) for each in settings))


def watched(generated, reader=None, *settings):
    """What may be seen, as (candidate, text, reason, tokens)."""
    screening = Safety(reader or Reader()).screening(request(*settings))

    async def watch():
        return [each async for each in screening.watch(generated.chunks)]

    return [
        (each.candidate, each.text, each.finish_reason, [t.chosen.text for t in each.tokens])
        for each in asyncio.run(watch())
    ]


def test_a_candidate_that_is_withheld_leaves_the_others_alone():
    generated = Generated(
        chunk("good "),
        chunk("fine ", candidate=1),
        chunk("bad!"),
        chunk("still bad"),
        chunk("too", candidate=1, last=True),
        chunk("late", last=True),
    )

    assert watched(generated) == [
        (0, "good ", None, []),
        (1, "fine ", None, []),
        (0, "", FinishReason.SAFETY, []),
        (1, "too", FinishReason.STOP, []),
    ]
    assert generated.unwanted == [0]


def test_a_text_that_waits_comes_when_it_is_judged():
    generated = Generated(chunk("one?"), chunk(" two"), chunk(" three", last=True))

    assert watched(generated) == [(0, "one", None, []), (0, "? two three", FinishReason.STOP, [])]


def test_a_text_that_waited_is_never_seen_if_it_turns_out_harmful():
    assert watched(Generated(chunk("one"), chunk("?"), chunk("two"), chunk("!", last=True))) == [
        (0, "one", None, []),
        (0, "", FinishReason.SAFETY, []),
    ]


def test_details_of_tokens_wait_with_their_text():
    generated = Generated(
        chunk("a", tokens=["a"]),
        chunk("?b", tokens=["?b"]),
        chunk("c", tokens=["c"]),
        chunk("", last=True, tokens=["end"]),
    )

    assert watched(generated) == [(0, "a", None, ["a"]), (0, "?bc", FinishReason.STOP, ["?b", "c", "end"])]


def test_details_of_tokens_tell_nothing_of_a_text_that_is_withheld():
    generated = Generated(chunk("a", tokens=["a"]), chunk("?b", tokens=["?b"]), chunk("!", tokens=["!"], last=True))

    assert watched(generated) == [(0, "a", None, ["a"]), (0, "", FinishReason.SAFETY, [])]


def test_an_empty_answer_is_an_answer():
    assert watched(Generated(chunk("", last=True))) == [(0, "", FinishReason.STOP, [])]


def test_the_rater_hears_what_was_asked_last():
    reader = Reader()
    watched(Generated(chunk("x", last=True)), reader)

    assert reader.asked == ["second"]


def test_closing_what_is_watched_closes_its_source():
    generated = Generated(chunk("a"), chunk("b"), chunk("c", last=True))
    screening = Safety(Reader()).screening(request())

    async def leave_after_one():
        watching = screening.watch(generated.chunks)
        await anext(watching)
        await watching.aclose()

    asyncio.run(leave_after_one())
    assert generated.closed


@pytest.mark.parametrize("error", [InternalError("broken"), Unavailable("away")])
def test_a_text_that_cannot_be_rated_does_not_pass(error):
    generated = Generated(chunk("a", last=True))

    with pytest.raises(Unavailable, match="could not be rated"):
        watched(generated, Reader(error))
    assert generated.closed


def test_a_text_that_cannot_be_rated_passes_where_nothing_would_be_withheld():
    nothing = [(category, BlockThreshold.BLOCK_NONE) for category in HarmCategory]

    assert watched(Generated(chunk("a!", last=True)), Reader(InternalError("broken")), *nothing) == [
        (0, "a!", FinishReason.STOP, [])
    ]


def test_a_text_that_is_none_is_the_callers_fault():
    with pytest.raises(InvalidArgument, match="no text"):
        watched(Generated(chunk("a", last=True)), Reader(InvalidArgument("no text")))


class TestScreening:
    def test_nobody_looks_without_a_rater(self):
        civic = (UnratedCategory.CIVIC_INTEGRITY, BlockThreshold.BLOCK_ONLY_HIGH)
        assert Safety().screening(request(civic)) is None

    def test_ratings_are_in_the_order_of_the_categories_with_their_thresholds(self):
        screening = Safety(Reader(), default_threshold=BlockThreshold.BLOCK_ONLY_HIGH).screening(
            request((HARASSMENT, BlockThreshold.BLOCK_NONE), (HarmCategory.SEXUALLY_EXPLICIT, BlockThreshold.OFF))
        )
        ratings = screening.ratings(HARMLESS)

        assert [(each.category, each.threshold.value) for each in ratings] == [
            (HarmCategory.HATE_SPEECH, "BLOCK_ONLY_HIGH"),
            (HARASSMENT, "BLOCK_NONE"),
            (HarmCategory.DANGEROUS_CONTENT, "BLOCK_ONLY_HIGH"),
        ]

    def test_every_setting_that_cannot_be_kept_is_named(self):
        settings = [
            (UnratedCategory.CIVIC_INTEGRITY, BlockThreshold.BLOCK_ONLY_HIGH),
            (UnratedCategory.MEDICAL, BlockThreshold.OFF),
            (UnratedCategory.VIOLENCE, BlockThreshold.BLOCK_LOW_AND_ABOVE),
        ]
        with pytest.raises(InvalidArgument) as caught:
            Safety(Reader()).screening(request(*settings))

        assert [each.field for each in caught.value.violations] == [
            "safety_settings[0].category",
            "safety_settings[2].category",
        ]
