"""Rating by a model behind the executor: how often it is asked, and about how much."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from fakes import InMemoryExecutor
from tuningfork.domain.conversation import Speaker
from tuningfork.domain.errors import InternalError
from tuningfork.domain.rater import Activation, ClassifierModel, GuardModel, Passage
from tuningfork.domain.safety import HARMLESS, Assessment, BlockThreshold, HarmCategory, HarmProbability
from tuningfork.execution.base import WorkerDied
from tuningfork.safety.configuration import RaterChoice
from tuningfork.safety.lexical import LexicalRater
from tuningfork.service.answering.model_rater import (
    ASKED_CHARACTERS,
    CONTEXT_CHARACTERS,
    RATE_EVERY_CHARACTERS,
    ModelRater,
)
from tuningfork.service.answering.raters import safety_of
from tuningfork.service.metrics import Metrics

INSULT = Assessment.of({HarmCategory.HARASSMENT: HarmProbability.HIGH})
MODEL = ClassifierModel(
    location="anywhere", labels=(("insult", (HarmCategory.HARASSMENT,)),), activation=Activation.SIGMOID
)


@pytest.fixture
def metrics():
    return Metrics(CollectorRegistry())


@pytest.fixture
def rater(executor, metrics):
    return ModelRater(executor, MODEL, metrics, lambda: 0.0)


def follow(rater, *pieces, asked=""):
    """The partial assessment after each piece. The last piece ends the text."""

    async def add_all():
        follower = rater.follow(asked)
        return [await follower.add(piece, last=index == len(pieces) - 1) for index, piece in enumerate(pieces)]

    return asyncio.run(add_all())


def passages(executor):
    return [passage for assignment in executor.ratings for passage in assignment.passages]


def test_a_prompt_is_rated_whole(executor, rater):
    assert asyncio.run(rater.rate(Passage(text="an insult", speaker=Speaker.USER))) == INSULT
    assert passages(executor) == [Passage(text="an insult", speaker=Speaker.USER)]


def test_texts_are_rated_on_behalf_of_their_owner(executor, rater):
    asyncio.run(rater.rate(Passage(text="a prompt", speaker=Speaker.USER), owner="ada"))
    asyncio.run(rater.follow("a prompt", owner="bob").add("an answer", last=True))

    assert [each.owner for each in executor.ratings] == ["ada", "bob"]


def test_a_growing_text_is_rated_when_a_line_has_come_and_at_its_end(executor, rater):
    line = "x" * (RATE_EVERY_CHARACTERS - 1)

    partials = follow(rater, "ab", line, "cd", "", "ef", asked="why?")

    assert [partial.held for partial in partials] == [2, 0, 2, 2, 0]
    assert [each.text for each in passages(executor)] == ["ab" + line, "ab" + line + "cdef"]
    assert {(each.speaker, each.asked) for each in passages(executor)} == {(Speaker.MODEL, "why?")}


def test_what_was_found_stays(rater):
    partials = follow(rater, "an insult" + " " * 80, "word " * 400, "end")

    assert [partial.assessment for partial in partials] == [INSULT] * 3


def test_each_rating_costs_the_same_however_long_the_text_is(executor, rater):
    follow(rater, *["word " * 20] * 200, asked="q" * 160_000)

    assert len(executor.ratings) == 200
    assert max(len(each.text) for each in passages(executor)) == CONTEXT_CHARACTERS + 100
    assert {len(each.asked) for each in passages(executor)} == {ASKED_CHARACTERS}


class SlowExecutor(InMemoryExecutor):
    """Its ratings take a second of a clock that only they and the test move."""

    now = 0.0

    async def rate(self, assignment):
        self.now += 1.0
        return await super().rate(assignment)


def test_a_slow_rater_is_given_longer_pieces_and_rests_half_of_the_time(metrics):
    executor = SlowExecutor()
    follower = ModelRater(executor, MODEL, metrics, lambda: executor.now).follow("")

    async def write_a_line_every_quarter_of_a_second():
        partials = []
        for _ in range(11):
            partials.append(await follower.add("x" * RATE_EVERY_CHARACTERS, last=False))
            executor.now += 0.25
        return [partial.held // RATE_EVERY_CHARACTERS for partial in partials]

    assert asyncio.run(write_a_line_every_quarter_of_a_second()) == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2]
    assert len(executor.ratings) == 3


def test_an_empty_answer_is_not_rated(executor, rater):
    (partial,) = follow(rater, "")

    assert (partial.assessment, partial.held, executor.ratings) == (HARMLESS, 0, [])


def test_a_rater_that_died_is_asked_once_more(executor, rater, metrics):
    executor.break_rating()
    assert asyncio.run(rater.rate(Passage(text="an insult", speaker=Speaker.USER))) == INSULT

    executor.break_rating(times=2)
    with pytest.raises(WorkerDied):
        asyncio.run(rater.rate(Passage(text="hello", speaker=Speaker.USER)))
    assert metrics.registry.get_sample_value("tuningfork_worker_deaths_total", {"role": "rater"}) == 2


class TestChoice:
    def choose(self, choice, executor, metrics):
        return asyncio.run(safety_of(choice, executor, metrics))

    def test_nothing_chosen_is_nobody_who_looks(self, executor, metrics):
        assert self.choose(None, executor, metrics)._rater is None

    def test_the_lexical_rater_needs_no_model(self, executor, metrics):
        chosen = self.choose(RaterChoice(default_threshold=BlockThreshold.BLOCK_NONE), executor, metrics)

        assert isinstance(chosen._rater, LexicalRater)
        assert chosen._default_threshold is BlockThreshold.BLOCK_NONE
        assert executor.ratings == []

    @pytest.mark.parametrize("model", [MODEL, GuardModel(location="x", codes=(), otherwise=())])
    def test_a_model_is_asked_once_before_anybody_needs_it(self, executor, metrics, model):
        assert isinstance(self.choose(RaterChoice(model=model), executor, metrics)._rater, ModelRater)
        assert [each.model for each in executor.ratings] == [model]

    def test_a_model_that_cannot_be_used_is_told_at_once(self, metrics):
        executor = InMemoryExecutor()
        executor.break_rating(error=InternalError("it has no label 'rude'"))

        with pytest.raises(InternalError, match="no label 'rude'"):
            self.choose(RaterChoice(model=MODEL), executor, metrics)
