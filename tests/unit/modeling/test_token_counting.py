"""Tokens are counted quickly, and are those that training renders."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from exploring import often
from tiny_models import DIALECTS, build_tokenizer
from tokenizer_kinds import KINDS, chat_of
from tuningfork.domain.conversation import Conversation, Preference, Speaker, Turn
from tuningfork.domain.errors import InvalidArgument
from tuningfork.modeling.chat_template import ChatFormat
from tuningfork.modeling.token_counting import TokenCount, TokenCounter

PIECES = ["\n", " ", "\n\n", "  ", "the", "one", " two", "12", "\u4f60\u597d", "\U0001f600", "e\u0301", "\ue000"]
CONTROL = ["<|end|>", "<|im_end|>", "<end_of_turn>", "<think>", "</think>"]
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.lists(st.sampled_from([*PIECES, *CONTROL]), max_size=8).map("".join),
)
ANSWERS = TEXTS.filter(bool)
CONVERSATIONS = st.builds(
    lambda pairs, weights, system: Conversation(
        turns=tuple(
            turn
            for (asked, answered), weight in zip(pairs, [*weights, 1, 1, 1], strict=False)
            for turn in (Turn.said(Speaker.USER, asked), Turn.said(Speaker.MODEL, answered, weight))
        ),
        system_instruction=system,
    ),
    st.lists(st.tuples(TEXTS, ANSWERS), min_size=1, max_size=3),
    st.lists(st.sampled_from([0, 1]), max_size=2),
    st.none() | TEXTS,
).filter(lambda conversation: any(turn.is_learned for turn in conversation.turns))

FORMATS = {kind: chat_of(kind) for kind in KINDS} | {
    architecture.value: ChatFormat(
        build_tokenizer(dialect), end_ids=build_tokenizer(dialect).convert_tokens_to_ids(list(dialect.ends))
    )
    for architecture, dialect in DIALECTS.items()
}
COUNTERS = {name: TokenCounter(chat) for name, chat in FORMATS.items()}


def counted(counter, *examples):
    written = [counter.write(example) for example in examples]
    return counter.count(written, counter.encode(written))


@pytest.mark.parametrize("name", list(FORMATS))
@settings(max_examples=often(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(examples=st.lists(CONVERSATIONS, min_size=1, max_size=3))
def test_the_tokens_are_those_that_training_renders(name, examples):
    expected = [TokenCount.of(FORMATS[name].render_example(example)) for example in examples]

    assert counted(COUNTERS[name], *examples) == expected


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "llama2"])
def test_usual_examples_are_encoded_once(name):
    pair = Conversation.pair("What is the one?", "the two")

    assert COUNTERS[name].write(pair).count is None


def test_several_answers_are_counted_in_one_text_where_the_template_allows_it():
    turns = [Turn.said((Speaker.USER, Speaker.MODEL)[number % 2], f"turn {number}") for number in range(6)]
    written = COUNTERS["qwen"].write(Conversation(turns=tuple(turns)))

    assert len(written.borders) == 3
    assert COUNTERS["qwen"].count([written], COUNTERS["qwen"].encode([written]))[0].learned == sum(
        end - begin for row in FORMATS["qwen"].render_example(written.example) for begin, end in row.outputs
    )


def test_preferences_are_counted_with_both_answers():
    prompt = Conversation(turns=(Turn.said(Speaker.USER, "1"),))
    preference = Preference(prompt=prompt, chosen=("the",), rejected=("one", "two"))
    rows = FORMATS["llama3"].render_preference(preference)

    assert counted(COUNTERS["llama3"], preference) == [TokenCount.of(rows)]


def test_half_a_surrogate_pair_is_refused():
    with pytest.raises(InvalidArgument, match="not Unicode"):
        COUNTERS["llama3"].write(Conversation.pair("a", "\ud800"))


class Shouting(PreTrainedTokenizerFast):
    """A tokenizer that does more to a text than its backend."""

    def __call__(self, text, **how):
        return super().__call__(f"{text}{text}" if len(text) > 1 else text, **how)


def test_a_tokenizer_that_does_more_than_its_backend_is_asked_itself():
    quick = KINDS["llama3"]()
    tokenizer = Shouting(
        tokenizer_object=quick.backend_tokenizer, eos_token="<|eos|>", chat_template=quick.chat_template
    )
    chat = ChatFormat(tokenizer)
    pair = Conversation.pair("one", "two")

    assert counted(TokenCounter(chat), pair) == [TokenCount.of(chat.render_example(pair))]


def test_what_every_example_begins_with_is_encoded_once():
    qwen = TokenCounter(FORMATS["qwen3"])
    written = qwen.write(Conversation.pair("one", "two"))

    assert written.left_out == 1
    assert written.text.startswith("user\n")
