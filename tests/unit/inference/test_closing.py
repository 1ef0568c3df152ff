"""Whatever a model writes, a constrained answer is complete within its limit, if any answer fits into it."""

import json
from random import Random

import pytest
from jsonschema import Draft202012Validator

from constrained_writing import allowed_by, grammars_of
from tokenizer_kinds import KINDS, chat_of
from tuningfork.domain.generation import ChoiceAnswer, JsonAnswer
from tuningfork.inference.closing import Place
from tuningfork.inference.constraints import Constraint

SCHEMAS = {
    "flat": {
        "type": "object",
        "properties": {
            "surname": {"type": "string"},
            "day": {"enum": ["Monday", "Tuesday"]},
            "guests": {"type": "integer", "minimum": 1, "maximum": 20},
            "remark": {"type": "string"},
        },
        "required": ["surname", "day", "guests"],
    },
    "nested": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "a": {"type": "number"},
                "b": {"type": "array", "items": {"type": "string", "minLength": 5}, "minItems": 2},
                "c": {"type": "boolean"},
            },
            "required": ["a", "b", "c"],
        },
    },
    "any": {},
    "patterns": {
        "type": "object",
        "properties": {
            "d": {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"},
            "e": {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"x": {}}, "required": ["x"]}]},
        },
        "required": ["d", "e"],
    },
    "long text": {"type": "string", "minLength": 12},
    "number": {"type": "integer", "minimum": 5, "maximum": 300},
    "list": {"type": "array", "items": {"type": "string"}, "minItems": 3, "maxItems": 6},
}
MUCH = 500


@pytest.fixture(scope="module", params=list(KINDS))
def writer(request):
    chat = chat_of(request.param)
    return chat, grammars_of(chat)


def shortest(constraint, most=MUCH):
    return constraint._closer.completion(constraint._matcher, constraint._place, most)


def written(chat, grammars, form, seed, most):
    """What is written by somebody who takes any token that is allowed; and how many tokens were not taken as chosen."""
    constraint, random, tokens, replaced = grammars.begin(form, most), Random(seed), [], 0
    for _ in range(most):
        chosen = random.choice(allowed_by(constraint))
        token = constraint.affordable(chosen)
        replaced += token != chosen
        if token in chat.end_of_turn_ids:
            break
        tokens.append(token)
        constraint.accept(token)
        if constraint.complete:
            break
    assert constraint.fault is None
    return b"".join(map(constraint._closer.bytes_of, tokens)).decode(errors="replace").strip(), replaced


@pytest.mark.parametrize("name", SCHEMAS)
def test_an_answer_is_whole_and_valid_within_any_limit_that_the_shortest_one_fits_into(writer, name):
    chat, grammars = writer
    form = JsonAnswer(json.dumps(SCHEMAS[name]))
    least = len(shortest(grammars.begin(form)))

    for seed in range(3):
        for most in (least, least + 1, least + 9, 60, 200):
            text, _ = written(chat, grammars, form, seed, max(most, least))
            Draft202012Validator(SCHEMAS[name]).validate(json.loads(text))


@pytest.mark.parametrize("name", ["flat", "patterns", "long text", "list"])
def test_a_limit_below_the_shortest_answer_cuts_what_the_model_writes(writer, name):
    chat, grammars = writer
    form = JsonAnswer(json.dumps(SCHEMAS[name]))
    least = len(shortest(grammars.begin(form)))

    text, replaced = written(chat, grammars, form, 1, least // 2)

    assert replaced == 0
    with pytest.raises(ValueError, match=r"."):
        json.loads(text)


def test_one_of_several_texts_is_whole_too(writer):
    chat, grammars = writer
    form = ChoiceAnswer(("yes", "no", "maybe the quick brown fox"))
    least = len(shortest(grammars.begin(form)))

    for seed in range(20):
        assert written(chat, grammars, form, seed, least)[0] in form.choices


def test_tokens_are_taken_as_chosen_as_long_as_there_is_room(writer):
    chat, grammars = writer
    form, random = JsonAnswer(json.dumps(SCHEMAS["list"])), Random(3)
    free, bound = grammars.begin(form), grammars.begin(form, 10_000)

    for _ in range(60):
        token = random.choice(allowed_by(free))
        assert bound.affordable(token) == token
        if token in chat.end_of_turn_ids:
            break
        free.accept(token)
        bound.accept(token)
        if free.complete:
            break
    assert bound.complete == free.complete


class Counting:
    """A closer that counts how often it is asked."""

    def __init__(self, closer):
        self.bytes_of, self.end, self._completion, self.asked = closer.bytes_of, closer.end, closer.completion, 0

    def completion(self, *given):
        self.asked += 1
        return self._completion(*given)


def test_few_tokens_are_checked_while_the_limit_is_far(writer):
    _, grammars = writer
    begun, random = grammars.begin(JsonAnswer('{"type": "string"}')), Random(1)
    closer = Counting(begun._closer)
    constraint = Constraint(begun._matcher, closer, Place(), 5_000)

    for _ in range(1_000):
        begins = not constraint._place.in_string
        allowed = [
            token
            for token in allowed_by(constraint)
            if (closer.bytes_of(token).strip() in (b"", b'"') if begins else b'"' not in closer.bytes_of(token))
        ]
        token = random.choice(allowed)
        assert constraint.affordable(token) == token
        constraint.accept(token)

    assert closer.asked < 60


def test_a_place_in_json_is_within_a_string_or_not():
    assert Place().after(rb'{"a\"b"') == Place(in_string=False)
    assert Place().after(rb'{"a\"b') == Place(in_string=True)
    assert Place().after(b'"a\\') == Place(in_string=True, is_escaped=True)
    assert Place().after(rb'"a\\"') == Place()
    assert Place().after(b"\\") == Place()
