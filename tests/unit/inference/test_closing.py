"""Whatever a model writes, a constrained answer is complete within its limit, if any answer fits into it."""

import json
from random import Random

import pytest
from jsonschema import Draft202012Validator

from constrained_writing import allowed_by, grammars_of
from tokenizer_kinds import KINDS, chat_of
from tuningfork.domain.generation import ChoiceAnswer, JsonAnswer
from tuningfork.inference.closing import STEPS, KnownTexts, Place

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
    "forms": {
        "type": "object",
        "properties": {
            "email": {"type": "string", "format": "email"},
            "from": {"type": "string", "format": "uri"},
            "line": {"type": "string", "pattern": "^[A-Z].*[.]$"},
            "any": {"type": "string", "pattern": "^.+@.+$"},
        },
        "required": ["email", "line"],
    },
    "large items": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {f"property number {index}": {"type": "boolean"} for index in range(8)},
            "required": [f"property number {index}" for index in range(8)],
            "additionalProperties": False,
        },
    },
    "kinds": {"type": "array", "items": {"enum": ["nevertheless, maybe the quick brown fox", "no", "next"]}},
}


@pytest.fixture(scope="module", params=list(KINDS))
def writer(request):
    chat = chat_of(request.param)
    return chat, grammars_of(chat)


def shortest(constraint):
    return constraint._closer.completion(constraint._matcher, constraint._place, constraint._texts)


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


CHOICES = ("maybe the quick brown fox", "yes", "no", "yes please, but the lazy dog")


def test_one_of_several_texts_is_whole_within_the_tokens_of_the_shortest_one(writer):
    chat, grammars = writer
    form = ChoiceAnswer(CHOICES)
    tokens = grammars.begin(form)._closer._tokenizer
    least = min(len(tokens.tokenize_str(chat.lead + choice)) for choice in CHOICES)

    for seed in range(20):
        assert written(chat, grammars, form, seed, least)[0] in form.choices


def test_a_text_that_has_begun_is_completed_by_the_shortest_one_that_begins_so(writer):
    chat, grammars = writer
    constraint = grammars.begin(ChoiceAnswer(CHOICES), 50)
    tokens = constraint._closer._tokenizer
    for token in tokens.tokenize_str(chat.lead + "y"):
        assert constraint.affordable(token) == token
        constraint.accept(token)

    rest = shortest(constraint)

    assert b"".join(map(constraint._closer.bytes_of, rest)) == b"es"


def test_of_an_enumeration_the_shortest_text_completes(writer):
    _, grammars = writer
    constraint = grammars.begin(JsonAnswer('{"enum": ["nevertheless, maybe the quick brown fox", "no", "next"]}'))
    assert b"".join(map(constraint._closer.bytes_of, shortest(constraint))).strip() == b'"no"'


def test_a_choice_that_costs_many_tokens_at_once_is_made_only_if_they_fit(writer):
    chat, grammars = writer
    form = JsonAnswer(json.dumps(SCHEMAS["large items"]))
    constraint = grammars.begin(form)
    item = len(constraint._closer._tokenizer.tokenize_str(json.dumps(dict.fromkeys(range(8), "property number 0:"))))

    for most in range(2 * item, 2 * item + 8):
        text, _ = written(chat, grammars, form, most, most)
        Draft202012Validator(SCHEMAS["large items"]).validate(json.loads(text))


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
    """Counts the calls of a closer's method, and the most of them for one token."""

    def __init__(self, closer, name, monkeypatch):
        self.calls, self.most_at_once, self._function, self._before = 0, 0, getattr(closer, name), 0
        monkeypatch.setattr(closer, name, self)

    def __call__(self, *given, **named):
        self.calls += 1
        self.most_at_once = max(self.most_at_once, self.calls - self._before)
        return self._function(*given, **named)

    def next_token(self):
        self._before = self.calls


def test_completions_are_not_sought_again_within_a_string(writer, monkeypatch):
    _, grammars = writer
    constraint, random = grammars.begin(JsonAnswer('{"type": "string"}'), 320), Random(1)
    closer = constraint._closer
    sought = Counting(closer, "completion", monkeypatch)

    for _ in range(300):
        texts = {token: closer.bytes_of(token) for token in allowed_by(constraint)}
        in_string = constraint._place.in_string
        allowed = [
            token for token, text in texts.items() if (text.isalpha() if in_string else text.strip() in (b"", b'"'))
        ]
        token = random.choice(allowed)
        assert constraint.affordable(token) == token
        constraint.accept(token)

    assert sought.calls < 3


def test_a_long_list_that_must_be_is_not_walked_through_for_each_token(writer, monkeypatch):
    _, grammars = writer
    schema = {"type": "array", "items": {"type": "boolean"}, "minItems": 200}
    form = JsonAnswer(json.dumps(schema))
    least = len(grammars.begin(form)._completion)
    constraint, random, texts = grammars.begin(form, least + 20), Random(4), []
    steps = Counting(constraint._closer, "_next", monkeypatch)

    while not constraint.complete and not constraint.may_end:
        steps.next_token()
        token = constraint.affordable(random.choice(allowed_by(constraint)))
        texts.append(constraint._closer.bytes_of(token))
        constraint.accept(token)

    Draft202012Validator(schema).validate(json.loads(b"".join(texts)))
    assert len(texts) <= least + 20
    assert steps.most_at_once <= 2 * (STEPS + 1)


@pytest.mark.parametrize(
    "schema",
    [
        SCHEMAS["forms"],
        {"type": "string", "pattern": "^([a-y]+z){500}$"},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "^([a-y]+z){500}$"}}},
        {"type": "array", "items": {"type": "boolean"}, "minItems": 5_000},
    ],
)
def test_a_token_waits_for_few_steps_of_a_walk_whatever_the_schema(writer, schema, monkeypatch):
    _, grammars = writer
    constraint, random = grammars.begin(JsonAnswer(json.dumps(schema)), 8_192), Random(5)
    steps = Counting(constraint._closer, "_next", monkeypatch)

    for _ in range(60):
        steps.next_token()
        token = constraint.affordable(random.choice(allowed_by(constraint)))
        if not constraint._closer.bytes_of(token):
            break
        constraint.accept(token)

    assert steps.most_at_once <= 2 * (STEPS + 1)


def test_a_value_for_which_no_completion_is_found_may_be_written_while_the_limit_is_far(writer):
    chat, grammars = writer
    schema = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "null"}, "minItems": 400}}}
    text = chat.lead.encode() + b'{"a":[' + b"null," * 20
    for most, taken in ((4_000, True), (100, False)):
        constraint = grammars.begin(JsonAnswer(json.dumps(schema)), most)
        tokens = constraint._closer._tokenizer.tokenize_bytes(text)
        kept = True
        for token in tokens:
            kept = kept and constraint.affordable(token) == token
            if not kept:
                break
            constraint.accept(token)
        assert kept == taken


def test_a_place_in_json_is_within_a_string_or_not():
    assert Place().after(rb'{"a\"b"') == Place(in_string=False)
    assert Place().after(rb'{"a\"b') == Place(in_string=True)
    assert Place().after(b'"a\\') == Place(in_string=True, is_escaped=True)
    assert Place().after(rb'"a\\"') == Place()
    assert Place().after(b"\\") == Place()


def test_a_place_keeps_what_its_string_begins_with():
    assert Place().after(b'{"a": "b').after(b"c").begun == b'"bc'
    assert Place().after(b'{"a": "b"').begun == b""
    assert Place(is_json=False).after(b'a"').after(b'b"').begun == b'a"b"'


def test_of_many_texts_those_that_go_on_are_found_the_shortest_first():
    random = Random(6)
    texts = {"".join(random.choices('"aé東', k=random.randrange(1, 9))).encode() for _ in range(3_000)}
    known = KnownTexts(texts)

    for begun in (b"", b'"', b"a", "é".encode(), "a東".encode()[:2], b"aa", b"b", *list(texts)[:20]):
        going_on = [text for text in texts if text.startswith(begun) and text != begun]
        assert known.beginning(begun) == sorted(going_on, key=lambda text: (len(text), text))[:32]


def test_texts_of_a_large_enumeration_are_tokenized_once_however_many_completions_are_sought(writer):
    _, grammars = writer
    random = Random(7)
    texts = ["".join(random.choices("abcdefgh", k=9)) + str(number) for number in range(2_000)]
    schema = {"type": "array", "items": {"enum": texts}, "minItems": 12}
    constraint = grammars.begin(JsonAnswer(json.dumps(schema)))
    closer = constraint._closer
    made = closer._tokens_of.cache_info().misses

    found = [shortest(constraint) for _ in range(3)]

    assert closer._tokens_of.cache_info().misses == made
    assert found[0] == found[1] == found[2]
    if found[0] is not None:
        Draft202012Validator(schema).validate(json.loads(b"".join(map(closer.bytes_of, found[0]))))
