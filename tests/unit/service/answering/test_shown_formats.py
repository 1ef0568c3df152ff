"""What a model reads of the format in which it is to answer."""

import json

import pytest

from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.generation import ChoiceAnswer, JsonAnswer
from tuningfork.service.answering.shown_formats import MOST_CHARACTERS, in_words, shown_to

TEXT = {"type": "string"}


def words(**schema):
    return in_words(JsonAnswer(json.dumps(schema)))


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "object", "properties": {"name": TEXT, "guests": TEXT}}, "Answer in JSON, with name, guests."),
        (
            {
                "type": "object",
                "description": "A booking.",
                "properties": {"name": {**TEXT, "description": "the guest's last name."}, "day": TEXT},
            },
            "Answer in JSON (A booking), with name (the guest's last name), day.",
        ),
        (
            {"type": "array", "items": {"type": "object", "properties": {"name": TEXT}}},
            "Answer in JSON as a list, with name.",
        ),
        (
            {"properties": {"who": {"properties": {"name": TEXT, "age": TEXT}}, "tags": {"items": TEXT}}},
            "Answer in JSON, with who with name, age, tags.",
        ),
        ({"properties": {"a": TEXT, "b": TEXT}, "propertyOrdering": ["b", 1, "c"]}, "Answer in JSON, with b, a."),
        ({"type": "integer"}, "Answer in JSON."),
        # Whatever a caller writes in place of a schema has no names.
        ({"properties": [1], "items": 3, "description": 4, "propertyOrdering": 5}, "Answer in JSON."),
        ({"properties": {"a": True}}, "Answer in JSON, with a."),
    ],
)
def test_a_schema_is_the_names_of_its_properties_and_what_is_said_of_them(schema, said):
    assert words(**schema) == said


def test_any_json_and_one_of_several_texts_are_told_too():
    assert in_words(JsonAnswer()) == "Answer in JSON."
    assert in_words(JsonAnswer("true")) == "Answer in JSON."
    assert in_words(ChoiceAnswer(("yes", "no"))) == "Answer with one of these: yes, no."


def test_a_schema_that_goes_on_for_ever_is_told_to_some_depth():
    schema = {"properties": {"a": TEXT}}
    for _ in range(20):
        schema = {"properties": {"a": schema}}

    assert words(**schema) == "Answer in JSON, with a with a with a."


PROMPT = Conversation(
    system_instruction="Be short.",
    turns=(
        Turn.said(Speaker.USER, "one"),
        Turn.said(Speaker.MODEL, "two"),
        Turn(Speaker.USER, ("three", " four")),
    ),
)


def test_the_words_stand_at_the_end_of_the_last_turn():
    shown = shown_to(PROMPT, ChoiceAnswer(("a", "b")), is_tuned=False)

    assert shown.turns[-1].text == "three four\n\nAnswer with one of these: a, b."
    assert (shown.system_instruction, shown.turns[:-1]) == (PROMPT.system_instruction, PROMPT.turns[:-1])


@pytest.mark.parametrize("asked", [JsonAnswer(), ChoiceAnswer(("a", "b"))])
def test_a_tuned_model_reads_its_prompts_as_it_was_trained_on_them(asked):
    assert shown_to(PROMPT, asked, is_tuned=True) == PROMPT


def test_nothing_is_added_where_no_format_is_asked_for_or_its_words_are_too_many():
    many = ChoiceAnswer(tuple(f"choice {number}" for number in range(MOST_CHARACTERS // 8)))

    assert shown_to(PROMPT, None, is_tuned=False) == PROMPT
    assert shown_to(PROMPT, many, is_tuned=False) == PROMPT
