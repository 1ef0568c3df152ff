"""What a worker says of an unexpected error holds no text of a caller, since the server logs it."""

import pytest

from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import InternalError, InvalidArgument
from tuningfork.domain.generation import Chunk, Sampling
from tuningfork.domain.rater import Activation, ClassifierModel, Passage
from tuningfork.execution.base import GenerationAssignment, RatingAssignment
from tuningfork.execution.local.generator_process import Generator
from tuningfork.execution.local.messages import Counted, Generate, Generated, Rate
from tuningfork.execution.local.rater_process import Rater
from tuningfork.execution.local.renderer_process import Call, Raised, Returned, answer
from tuningfork.execution.local.requests import expect

CANARY = "canary-prompt"
RATING_MODEL = ClassifierModel(location="/nowhere", labels=(), activation=Activation.SIGMOID)


class Failing:
    """A chat format, an artifact store and a rater, which quotes what it was given in an unexpected error."""

    most_together = 1

    def render_prompt(self, prompt):
        raise KeyError(prompt)

    def reading(self, *_, **__):
        raise KeyError(CANARY)

    def rate(self, passages):
        raise KeyError(passages[0].text)

    def refuse(self, prompt):
        raise InvalidArgument(prompt)

    def spell(self, ids):
        return str(ids)


def test_a_renderer_tells_the_class_of_an_unexpected_error(tiny_llama):
    told = answer(tiny_llama, Failing(), Call("render_prompt", CANARY, 1))

    assert isinstance(told, Raised)
    assert isinstance(told.error, InternalError)
    assert str(told.error) == f"{tiny_llama.name} could not render this: KeyError"


def test_a_renderer_tells_a_refusal_as_it_is_and_what_was_asked_for(tiny_llama):
    refused = answer(tiny_llama, Failing(), Call("refuse", CANARY, 1))

    assert isinstance(refused, Raised)
    assert str(refused.error) == CANARY
    assert answer(tiny_llama, Failing(), Call("spell", [1], 1)) == Returned("[1]")


def test_a_generator_tells_and_logs_the_class_of_an_unexpected_error(tiny_llama, caplog):
    sampling = Sampling(temperature=1.0, top_p=1.0, top_k=None, max_output_tokens=2, seed=1)
    prompt = Conversation(turns=(Turn.said(Speaker.USER, "one"),))
    asked = GenerationAssignment(base=tiny_llama, adapter=ArtifactRef("a"), prompt=prompt, sampling=sampling)

    [refused] = Generator(Failing()).obey(Generate("1", asked))

    assert str(refused.error) == "the generator failed: KeyError"
    assert [record.getMessage() for record in caplog.records] == ["command failed: KeyError"]


def test_a_rater_tells_and_logs_the_class_of_an_unexpected_error(caplog):
    rater = Rater(_loaded={RATING_MODEL: Failing()})
    passages = (Passage(text=CANARY, speaker=Speaker.USER),)
    list(rater.obey(Rate("1", RatingAssignment(model=RATING_MODEL, passages=passages))))

    [refused] = rater.advance()

    assert str(refused.error) == "the rater failed: KeyError"
    assert [record.getMessage() for record in caplog.records] == ["rating failed: KeyError"]


def test_a_report_of_the_wrong_class_is_told_without_its_text():
    chunk = Chunk(candidate=0, text=CANARY, finish_reason=None, prompt_tokens=1, output_tokens=1)
    with pytest.raises(AssertionError) as raised:
        expect(Generated("1", chunk), Counted)

    assert str(raised.value) == "Generated"
