"""Which examples teach a model to write the label of a next turn."""

import pytest

from tuningfork.domain.conversation import Conversation, Preference, Speaker, Turn
from tuningfork.domain.turn_labels import NEXT_TURN, teaches_next_turn

LABEL = NEXT_TURN[0]


def talk(*turns):
    return Conversation(turns=turns)


def user(text):
    return Turn.said(Speaker.USER, text)


@pytest.mark.parametrize(
    ("example", "teaches"),
    [
        (Conversation.pair("1", "2"), False),
        (Conversation.pair(f"1{LABEL}2", "3"), False),
        (Conversation.pair("1", f"2{LABEL}3"), True),
        (Conversation.pair("1", f"2{NEXT_TURN[1]}3"), True),
        (Conversation.pair("1", "User:\n2"), False),
        (Conversation.pair("1", "the User: him"), False),
        (talk(user("1"), Turn.said(Speaker.MODEL, f"2{LABEL}"), user("3"), Turn.said(Speaker.MODEL, "4")), True),
        (Preference(prompt=talk(user("1")), chosen=("a", LABEL), rejected=("b",)), True),
        (Preference(prompt=talk(user("1")), chosen=("a",), rejected=("b", LABEL)), False),
    ],
)
def test_only_what_an_answer_is_to_say_counts(example, teaches):
    assert teaches_next_turn(example) is teaches
