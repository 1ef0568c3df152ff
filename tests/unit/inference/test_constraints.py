"""Which tokens may come next, and what is said of a form that cannot be kept to."""

import json
import threading

import pytest
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from constrained_writing import SPARE_TOKENS, allowed_by, grammars_of, write
from tokenizer_kinds import KINDS, TEMPLATE, chat_of
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.generation import ChoiceAnswer, JsonAnswer
from tuningfork.inference.constraints import Grammars
from tuningfork.modeling.chat_template import ChatFormat


@pytest.fixture(scope="module", params=list(KINDS))
def chat(request):
    return chat_of(request.param)


@pytest.fixture(scope="module")
def plain():
    """The embedded base's way: a token is a byte."""
    return chat_of("embedded")


def schema(**members):
    return JsonAnswer(json.dumps(members))


def refusal(chat, form):
    with pytest.raises(InvalidArgument) as caught:
        grammars_of(chat).begin(form)
    assert [each.field for each in caught.value.violations] == ["sampling.answer_format"]
    return caught.value.message


def accept(constraint, text):
    for token in text.encode():
        assert token in allowed_by(constraint), (text, chr(token))
        constraint.accept(token)
    return constraint


def test_the_end_of_the_turn_is_allowed_where_the_answer_may_end_and_nowhere_else(chat):
    constraint = grammars_of(chat).begin(ChoiceAnswer(("a", "ab")))
    assert not chat.end_of_turn_ids & set(allowed_by(constraint))
    [letter] = chat.tokenizer.convert_tokens_to_ids(["a"]) if chat.lead == "" else [None]
    if letter is not None:
        constraint.accept(letter)
        assert chat.end_of_turn_ids <= set(allowed_by(constraint))
        assert not constraint.complete


def test_no_control_token_and_no_padding_is_ever_allowed(chat):
    grammars = grammars_of(chat)
    forbidden = {chat.tokenizer.convert_tokens_to_ids("<|user|>")}
    forbidden |= set(range(len(chat.tokenizer), len(chat.tokenizer) + SPARE_TOKENS))
    constraint = grammars.begin(schema(type="string"))
    for token in write(chat, grammars, schema(type="string", minLength=30), 5).tokens:
        allowed = set(allowed_by(constraint))
        assert not allowed & forbidden
        if token not in allowed:
            break
        constraint.accept(token)


def test_an_answer_is_complete_when_nothing_can_follow(plain):
    constraint = accept(grammars_of(plain).begin(ChoiceAnswer(("yes", "no"))), "ye")
    assert not constraint.complete
    assert accept(constraint, "s").complete


def test_a_number_is_never_complete(plain):
    assert not accept(grammars_of(plain).begin(schema(type="integer")), "12").complete


def test_two_answers_of_one_form_go_their_own_ways(plain):
    grammars = grammars_of(plain)
    form = ChoiceAnswer(("yes", "yet", "no"))
    first, second = grammars.begin(form), grammars.begin(form)
    accept(first, "ye")
    assert {chr(token) for token in allowed_by(second)} == {"y", "n"}
    assert {chr(token) for token in allowed_by(first)} == {"s", "t"}


def test_indentation_is_allowed_but_not_without_end(plain):
    grammars = grammars_of(plain)
    accept(grammars.begin(schema(type="object", properties={"a": {}})), '{\n\t\t "a": 1}')
    spaces = accept(grammars.begin(schema(type="object", properties={"a": {}})), "{\n" + 64 * " ")
    assert {chr(token) for token in allowed_by(spaces)} == {'"', "}"}


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (schema(type="array", uniqueItems=True), "uniqueItems"),
        ({"not": {"type": "string"}}, "not"),
        (schema(type="string", pattern="(?=a)b"), "look-around"),
        (schema(type="string", pattern="["), "unclosed character class"),
        (schema(type="string", format="colour"), "Unknown format: colour"),
        (schema(type="integer", minimum=5, maximum=2), r"minimum \(5\) is greater than maximum \(2\)"),
        ({"$ref": "#"}, "no answer satisfies it"),
        ({"$ref": "https://example.com/schema"}, "example.com"),
        ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, "oneOf"),
        (schema(type="wrong"), "Invalid type: wrong"),
    ],
)
@pytest.mark.parametrize("kind", ["embedded", "llama2"])
def test_what_cannot_be_enforced_is_named(kind, form, said):
    form = form if isinstance(form, JsonAnswer) else JsonAnswer(json.dumps(form))
    with pytest.raises(InvalidArgument, match=said) as caught:
        grammars_of(chat_of(kind)).begin(form)
    assert len(caught.value.message) < 450
    assert "x-guidance" not in caught.value.message


def test_a_schema_that_turns_out_too_complex_on_the_way_is_a_fault_of_its_own_answer(plain):
    grammars = grammars_of(plain)
    constraint = grammars.begin(schema(type="string", pattern="a?" * 20_000))
    for text in ('"', "a"):
        assert constraint.fault is None
        constraint.accept(ord(text))
        allowed = constraint.allowed()
        if constraint.fault is not None:
            break
    assert "too many expressions" in constraint.fault.message
    assert not allowed.any()
    assert not constraint.complete


def test_a_tokenizer_whose_tokens_are_no_pieces_of_text_is_told():
    words = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "##b": 2, "<|end|>": 3}, unk_token="[UNK]"))
    words.decoder = decoders.WordPiece()
    chat = ChatFormat(PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|end|>", chat_template=TEMPLATE))
    assert "cannot be held to a form" in refusal(chat, JsonAnswer())


def test_what_was_compiled_is_kept_and_the_least_used_leaves_first(plain):
    grammars = Grammars(plain, vocabulary_size=264, capacity=2)
    first, second, third = (ChoiceAnswer((text,)) for text in "abc")
    for form in (first, second, first, third):
        grammars.begin(form)
    assert [grammars.has(form) for form in (first, second, third)] == [True, False, True]


def test_a_form_that_is_refused_is_not_kept(plain):
    grammars = grammars_of(plain)
    form = schema(type="wrong")
    with pytest.raises(InvalidArgument):
        grammars.begin(form)
    assert not grammars.has(form)


def test_forms_can_be_compiled_by_several_threads_at_once(plain):
    grammars = grammars_of(plain)
    forms = [ChoiceAnswer((text,)) for text in "aabbccdd"]
    found = {}

    def begin(index):
        found[index] = allowed_by(grammars.begin(forms[index]))

    threads = [threading.Thread(target=begin, args=(index,)) for index in range(len(forms))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[index] for index in range(len(forms))] == [[ord(text)] for text in "aabbccdd"]
