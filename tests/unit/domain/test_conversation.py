"""What an example can be: a pair, a conversation, a preference."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.domain.base_model import Limits
from tuningfork.domain.conversation import Conversation, Preference, Speaker, Turn
from tuningfork.domain.dataset import characters_of, violations_of
from tuningfork.domain.dataset_lines import example_in, line_of
from tuningfork.domain.objective import DirectPreferenceOptimization
from tuningfork.familiar import GEMINI_LIMITS

ASKED = Turn.said(Speaker.USER, "q")
ANSWERED = Turn.said(Speaker.MODEL, "a")
READ = Turn.said(Speaker.MODEL, "a", 0)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
PARTS = st.lists(TEXTS, max_size=3).map(tuple)
TURNS = st.builds(Turn, st.sampled_from(Speaker), PARTS, st.sampled_from([0, 1])).map(
    lambda turn: turn if turn.speaker is Speaker.MODEL else Turn(turn.speaker, turn.parts)
)
CONVERSATIONS = st.builds(
    Conversation, turns=st.lists(TURNS, max_size=4).map(tuple), system_instruction=st.none() | TEXTS
)
EXAMPLES = CONVERSATIONS | st.builds(Preference, prompt=CONVERSATIONS, chosen=PARTS, rejected=PARTS)


def test_a_pair_is_the_conversation_of_one_question_and_one_answer():
    assert Conversation.pair("q", "a") == Conversation(turns=(ASKED, ANSWERED))
    assert Conversation.pair("q", "a").as_pair() == ("q", "a")


@pytest.mark.parametrize(
    "other",
    [
        Conversation(turns=(ASKED, ANSWERED), system_instruction="s"),
        Conversation(turns=(ASKED, READ)),
        Conversation(turns=(ASKED, ANSWERED, ASKED)),
        Conversation(turns=(ANSWERED, ASKED)),
        Conversation(turns=(ASKED, Turn(Speaker.MODEL, ("a", "b")))),
    ],
)
def test_no_other_conversation_is_a_pair(other):
    assert other.as_pair() is None


def test_only_what_the_model_says_with_weight_one_is_learned():
    assert [turn.is_learned for turn in (ASKED, ANSWERED, READ)] == [False, True, False]


def test_the_text_of_a_turn_is_its_parts_joined():
    assert Turn(Speaker.USER, ("one ", "two")).text == "one two"


@given(example=EXAMPLES)
def test_an_example_is_read_as_it_was_written(example):
    line = line_of(example)
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert example_in(line) == example


def test_a_pair_is_written_as_it_always_was():
    assert line_of(Conversation.pair("七", "b")) == b'{"text_input": "\\u4e03", "output": "b"}\n'


LIMITS = replace(GEMINI_LIMITS, conversations=True)


def fields(*examples, limits=LIMITS, objective=None):
    return [violation.field for violation in violations_of(examples, limits, "examples", objective)]


def test_a_conversation_that_can_be_learned_from_is_accepted():
    good = Conversation(turns=(ASKED, READ, ASKED, ANSWERED), system_instruction="s")
    assert fields(good) == []
    wanted = Preference(prompt=Conversation(turns=(ASKED,)), chosen=("a",), rejected=("b",))
    assert fields(wanted, objective=DirectPreferenceOptimization()) == []


@pytest.mark.parametrize(
    ("turns", "wrong"),
    [
        ((), ["examples[0].turns"]),
        ((ASKED, READ), ["examples[0].turns"]),
        ((ANSWERED, ASKED, ANSWERED), ["examples[0].turns[0]"]),
        ((ASKED, ANSWERED, ASKED, Turn.said(Speaker.MODEL, "")), ["examples[0].turns[3]"]),
        ((ASKED, Turn.said(Speaker.MODEL, "x" * 5_001), ASKED, ANSWERED), ["examples[0].turns[1]"]),
        ((Turn.said(Speaker.USER, "x" * 20_000), ANSWERED, Turn.said(Speaker.USER, "x" * 20_001)), ["examples[0]"]),
    ],
)
def test_a_conversation_without_anything_to_learn_or_beyond_its_limits_is_refused(turns, wrong):
    assert fields(Conversation(turns=turns)) == wrong


def test_a_preference_needs_a_question_and_two_answers():
    bad = Preference(prompt=Conversation(turns=(ASKED, ANSWERED)), chosen=("",), rejected=("\ud800",))
    found = fields(bad, limits=Limits(), objective=DirectPreferenceOptimization())
    assert found == ["examples[0].prompt", "examples[0].chosen", "examples[0].rejected"]


def test_the_characters_of_an_example_are_those_of_all_its_texts():
    prompt = Conversation(turns=(ASKED, ANSWERED, ASKED), system_instruction="sys")
    assert characters_of(prompt) == 6
    assert characters_of(Preference(prompt=prompt, chosen=("ab", "c"), rejected=("d",))) == 10
