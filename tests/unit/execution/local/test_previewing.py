"""A preview shows what the trainer packs: the same tokens, the same border, the same loss mask."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exploring import often
from rendering import row_of
from tiny_models import DIALECTS, Architecture, build_tokenizer
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import Cancelled
from tuningfork.execution.local.previewing import preview
from tuningfork.modeling.chat_template import ChatFormat
from tuningfork.training.batches import OwnedSegment, Segment, pack

CONTEXT = 512
FORMATS = {
    architecture: ChatFormat(
        build_tokenizer(dialect), end_ids=build_tokenizer(dialect).convert_tokens_to_ids(list(dialect.ends))
    )
    for architecture, dialect in DIALECTS.items()
}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
EXAMPLES = st.lists(st.builds(Conversation.pair, TEXTS, TEXTS), min_size=1, max_size=4)

many = settings(max_examples=often(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=list(Architecture))
def chat(request):
    return FORMATS[request.param]


def learned(chat, example):
    """The example as the trainer has it, and one forward pass of the trainer over it alone."""
    segment = Segment.of(row_of(chat, example))
    return segment, pack([OwnedSegment(segment=segment, owner=0)])


@many
@given(examples=EXAMPLES)
def test_the_trained_tokens_are_the_targets_of_the_trainer(chat, examples):
    seen = preview(chat, tuple(examples), len(examples), CONTEXT)

    segments, packs = zip(*[learned(chat, example) for example in examples], strict=True)
    assert seen.total_tokens == sum(segment.tokens for segment in segments)
    assert seen.trained_tokens == sum(len(each.targets_N) for each in packs)
    assert seen.longest_tokens == max(segment.tokens for segment in segments)
    assert segments[seen.longest_example].tokens == seen.longest_tokens
    for shown, each in zip(seen.shown, packs, strict=True):
        trained = [segment for segment in shown.segments if segment.trained]
        assert [segment.tokens for segment in trained] == [len(each.targets_N)]
        assert trained[0].text == chat.spell(each.targets_N.tolist())


TURNS = st.lists(st.tuples(TEXTS, TEXTS, st.booleans()), min_size=1, max_size=3)


@many
@given(turns=TURNS, system=st.none() | TEXTS)
def test_what_stands_before_each_learned_answer_is_what_serving_sends(chat, turns, system):
    said = [
        turn
        for text, answer, learned in turns
        for turn in (Turn.said(Speaker.USER, text), Turn.said(Speaker.MODEL, answer, 1 if learned else 0))
    ]
    said[-1] = Turn.said(Speaker.MODEL, said[-1].text)

    (shown,) = preview(chat, (Conversation(turns=tuple(said), system_instruction=system),), 1, CONTEXT).shown

    assert shown.as_served is True


class OtherServing:
    """A chat whose requests are rendered with a token more than its training examples."""

    def __init__(self, chat):
        self._chat = chat

    def render_prompt(self, prompt):
        return [*self._chat.render_prompt(prompt), 0]

    def __getattr__(self, name):
        return getattr(self._chat, name)


def test_a_difference_from_serving_is_told(chat):
    (shown,) = preview(OtherServing(chat), (Conversation.pair("1", "2"),), 1, CONTEXT).shown

    assert shown.as_served is False


@many
@given(examples=EXAMPLES)
def test_the_segments_are_the_whole_text_in_order(chat, examples):
    for shown, example in zip(preview(chat, tuple(examples), 4, CONTEXT).shown, examples, strict=True):
        whole, _ = learned(chat, example)
        assert "".join(segment.text for segment in shown.segments) == chat.spell(whole.ids_T.tolist())
        assert [segment.trained for segment in shown.segments] == [False, True]


def test_what_is_given_is_the_prompt_that_serving_renders_and_what_is_trained_ends_the_turn(chat):
    ((given_part, trained),) = (
        each.segments for each in preview(chat, (Conversation.pair("1", "2"),), 1, CONTEXT).shown
    )

    prompt = chat.render_prompt(Conversation(turns=(Turn.said(Speaker.USER, "1"),)))
    assert (given_part.text, given_part.tokens) == (chat.spell(prompt), len(prompt))
    assert trained.text.startswith("2")
    assert any(trained.text.endswith(chat.spell([end])) for end in chat.end_of_turn_ids)


def test_only_the_first_examples_are_shown_and_all_are_measured(chat):
    examples = (Conversation.pair("1", "2"), Conversation.pair("3", "four hundred"), Conversation.pair("5", "6"))

    seen = preview(chat, examples, 1, CONTEXT)

    assert len(seen.shown) == 1
    assert (seen.longest_example, seen.context_tokens) == (1, CONTEXT)
    assert seen.total_tokens == sum(preview(chat, (example,), 0, CONTEXT).total_tokens for example in examples)


def test_of_a_template_that_gives_nothing_the_first_token_is_shown_as_not_trained():
    template = "{% for message in messages %}{{ message['content'] if message['role'] == 'assistant' }}{% endfor %}"
    silent = ChatFormat(build_tokenizer(DIALECTS[Architecture.QWEN3]), template=template)

    (shown,) = preview(silent, (Conversation.pair("1", "one two"),), 1, CONTEXT).shown

    assert [(segment.tokens, segment.trained) for segment in shown.segments] == [(1, False), (shown.tokens - 1, True)]
    assert shown.trained_tokens == len(learned(silent, Conversation.pair("1", "one two"))[1].targets_N)


def test_a_preview_that_nobody_waits_for_any_more_ends_before_the_next_example():
    chat, rendered = FORMATS[Architecture.LLAMA], []

    class Counting:
        def render_example(self, example):
            rendered.append(example)
            return chat.render_example(example)

    examples = [Conversation.pair(str(number), "x") for number in range(9)]
    with pytest.raises(Cancelled):
        preview(Counting(), examples, 1, 512, is_wanted=lambda: len(rendered) < 3)
    assert len(rendered) == 3
