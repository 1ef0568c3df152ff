"""The header of an example is the prompt that serving renders, and its output ends the turn."""

import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from exploring import often
from rendering import row_of
from tiny_models import DIALECTS, Architecture, build_tokenizer
from tuningfork.domain import turn_labels
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import InternalError, InvalidArgument
from tuningfork.domain.turn_labels import NEXT_TURN
from tuningfork.modeling.chat_template import DEFAULT_TEMPLATE, ChatFormat

CONTROL = [token for dialect in DIALECTS.values() for token in dialect.specials]
WRITTEN = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.lists(st.sampled_from(["\n", " ", "\n\n", "the", "one", " two", "12", "\ue000", "\ue001", *CONTROL])).map(
        "".join
    ),
)
TRIMMED = WRITTEN.map(str.strip).filter(bool).filter(lambda text: not any(token in text for token in CONTROL))

FORMATS = {
    architecture: ChatFormat(
        build_tokenizer(dialect),
        end_ids=build_tokenizer(dialect).convert_tokens_to_ids(list(dialect.ends)),
    )
    for architecture, dialect in DIALECTS.items()
}

many = settings(max_examples=often(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=list(Architecture))
def chat(request) -> ChatFormat:
    return FORMATS[request.param]


def asked(*texts: str, system: str | None = None) -> Conversation:
    speakers = [Speaker.USER, Speaker.MODEL] * len(texts)
    turns = tuple(Turn.said(speaker, text) for speaker, text in zip(speakers, texts, strict=False))
    return Conversation(turns=turns, system_instruction=system)


def with_template(template: str | None, architecture: Architecture = Architecture.QWEN3) -> ChatFormat:
    return ChatFormat(build_tokenizer(DIALECTS[architecture]), template=template)


@many
@given(text=WRITTEN, output=WRITTEN.filter(bool))
def test_the_header_of_an_example_is_the_prompt_of_the_same_text(chat, text, output):
    rendered = row_of(chat, Conversation.pair(text, output))
    assert list(rendered.header) == chat.render_prompt(asked(text))


@many
@given(text=WRITTEN, output=WRITTEN.filter(bool))
def test_the_output_is_what_was_written_and_then_the_end_of_the_turn(chat, text, output):
    *words, end = row_of(chat, Conversation.pair(text, output)).output
    assert chat.tokenizer.decode(words) == output
    assert end in chat.end_of_turn_ids


@many
@given(text=WRITTEN, output=WRITTEN.filter(bool))
def test_nothing_that_people_write_ends_a_turn(chat, text, output):
    *words, _ = row_of(chat, Conversation.pair(text, output)).output
    assert chat.end_of_turn_ids.isdisjoint(words)
    plain = chat.render_prompt(asked("x"))
    special = set(chat.tokenizer.all_special_ids)
    assert [i for i in chat.render_prompt(asked(text)) if i in special] == [i for i in plain if i in special]


@many
@given(text=TRIMMED, output=TRIMMED)
def test_header_and_output_are_the_beginning_of_what_transformers_renders(chat, text, output):
    rendered = row_of(chat, Conversation.pair(text, output))
    theirs = chat.tokenizer.apply_chat_template(
        [{"role": "user", "content": text}, {"role": "assistant", "content": output}], return_dict=False
    )
    ours = [*rendered.header, *rendered.output]
    assert ours == theirs[: len(ours)]
    assert chat.end_of_turn_ids.isdisjoint(theirs[len(ours) :])


@many
@given(turns=st.lists(TRIMMED, min_size=1, max_size=5).filter(lambda turns: len(turns) % 2 == 1))
def test_a_conversation_is_the_prompt_that_transformers_renders(chat, turns):
    roles = ["user", "assistant"] * len(turns)
    messages = [{"role": role, "content": text} for role, text in zip(roles, turns, strict=False)]
    theirs = chat.tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, enable_thinking=False, return_dict=False
    )
    assert chat.render_prompt(asked(*turns)) == theirs


def test_a_header_begins_with_one_bos_token_where_the_model_has_one(chat):
    bos = chat.tokenizer.bos_token_id
    header = row_of(chat, Conversation.pair("1", "2")).header
    assert list(header).count(bos) == (0 if bos is None else 1)


def test_an_output_may_begin_with_white_space_that_would_merge_into_the_header():
    chat = FORMATS[Architecture.GEMMA3]
    rendered = row_of(chat, Conversation.pair("1", "\nmore"))
    assert chat.tokenizer.decode(rendered.header[-1:]) == "\n"
    assert chat.tokenizer.decode(rendered.output[:1]) == "\n"


@pytest.mark.parametrize(
    ("architecture", "end"),
    [
        (Architecture.LLAMA, "<|eot_id|>"),
        (Architecture.QWEN3, "<|im_end|>"),
        (Architecture.GEMMA3, "<end_of_turn>"),
    ],
)
def test_the_trained_end_is_the_one_that_the_template_writes(architecture, end):
    chat = FORMATS[architecture]
    assert chat.tokenizer.convert_ids_to_tokens(row_of(chat, Conversation.pair("1", "2")).output[-1]) == end


def test_generation_ends_at_every_token_that_the_model_knows_as_an_end():
    chat = FORMATS[Architecture.GEMMA3]
    assert chat.end_of_turn_ids == set(chat.tokenizer.convert_tokens_to_ids(["<eos>", "<end_of_turn>"]))


def test_a_model_that_could_think_first_is_told_not_to():
    chat = FORMATS[Architecture.QWEN3]
    assert chat.tokenizer.decode(chat.render_prompt(asked("1"))).endswith("assistant\n<think>\n\n</think>\n\n")


def test_a_thinking_block_that_is_always_opened_is_closed_in_the_header():
    template = """\
{%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' }}
{%- if message.role == 'assistant' %}{{- '<think>\n\n</think>\n\n' }}{% endif %}
{{- message.content + '<|im_end|>\n' }}{% endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n<think>\n' }}{% endif %}"""
    chat = with_template(template)
    assert chat.tokenizer.decode(chat.render_prompt(asked("1"))).endswith("assistant\n<think>\n\n</think>\n\n")
    assert chat.tokenizer.decode(row_of(chat, Conversation.pair("1", "2")).output) == "2<|im_end|>"


def test_a_space_before_the_answer_belongs_to_the_answers_first_token():
    template = """\
{%- for message in messages %}{%- if message.role == 'user' %}{{- '[' + message.content + ']' }}
{%- else %}{{- ' ' + message.content + ' ' + eos_token }}{% endif %}{% endfor %}"""
    chat = with_template(template)
    tokens = chat.tokenizer.convert_ids_to_tokens(row_of(chat, Conversation.pair("1", "two")).output)
    assert tokens == ["Ġtwo", "<|im_end|>"]
    assert chat.lead == " "


def test_an_answer_is_not_led_by_the_space_that_some_tokenizers_put_before_a_text():
    letters = {letter: number for number, letter in enumerate("▁[]wto12\n")}
    tokenizer = Tokenizer(models.BPE(vocab=letters, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    template = """\
{%- for m in messages %}{{ '[' + m.content + ']' if m.role == 'user' else m.content + eos_token }}{% endfor %}"""
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", chat_template=template)
    rendered = row_of(ChatFormat(wrapped), Conversation.pair("1", "two"))
    assert wrapped.convert_ids_to_tokens(rendered.header) == ["▁", "[", "1", "]"]
    assert wrapped.convert_ids_to_tokens(rendered.output) == ["t", "w", "o", "</s>"]


def test_an_answer_that_no_token_closes_is_closed_by_the_models_own():
    template = "{% for message in messages %}{{ message.role + ': ' + message.content + '\n' }}{% endfor %}"
    chat = with_template(template)
    assert row_of(chat, Conversation.pair("1", "2")).output[-1] == chat.tokenizer.eos_token_id


def test_a_system_instruction_goes_where_the_template_has_a_place_for_it():
    chat = FORMATS[Architecture.LLAMA]
    text = chat.tokenizer.decode(chat.render_prompt(asked("hi", system="Be brief.")))
    assert "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>" in text


def test_a_system_instruction_goes_before_the_first_turn_where_the_template_refuses_it():
    chat = FORMATS[Architecture.GEMMA3]
    text = chat.tokenizer.decode(chat.render_prompt(asked("hi", "hello", "well?", system="Be brief.")))
    assert "<start_of_turn>user\nBe brief.\n\nhi<end_of_turn>" in text
    assert text.count("Be brief.") == 1


def test_a_template_that_drops_the_system_turn_gets_it_in_the_first_turn():
    chat = with_template(
        "{% for m in messages if m.role != 'system' %}{{ m.role + ':' + m.content + eos_token }}{% endfor %}"
    )
    text = chat.tokenizer.decode(chat.render_prompt(asked("hi", system="Brief.")))
    assert text == "user:Brief.\n\nhi<|im_end|>assistant:"


@pytest.mark.parametrize(
    ("architecture", "start"), [("llama", "<|begin_of_text|>"), ("qwen3", ""), ("gemma3", "<bos>")]
)
def test_a_model_without_a_template_gets_the_default(architecture, start):
    tokenizer = build_tokenizer(DIALECTS[Architecture(architecture)])
    tokenizer.chat_template = None
    chat = ChatFormat(tokenizer)
    rendered = row_of(chat, Conversation.pair("1", "2"))
    assert tokenizer.decode(rendered.header) == f"{start}User:\n1\n\nAssistant:\n"
    assert tokenizer.decode(rendered.output) == f"2{tokenizer.eos_token}"
    system = chat.render_prompt(asked("1", "2", "3", system="Count."))
    assert tokenizer.decode(system) == (
        f"{start}System:\nCount.\n\nUser:\n1\n\nAssistant:\n2{tokenizer.eos_token}\n\nUser:\n3\n\nAssistant:\n"
    )


def test_only_the_default_has_labels_that_end_an_answer_and_they_are_what_it_writes_next():
    tokenizer = build_tokenizer(DIALECTS[Architecture.LLAMA])
    assert ChatFormat(tokenizer).next_turn_labels == ()
    assert ChatFormat(tokenizer, template=DEFAULT_TEMPLATE).next_turn_labels == NEXT_TURN
    tokenizer.chat_template = None
    chat = ChatFormat(tokenizer)
    assert chat.next_turn_labels == NEXT_TURN
    shown = tokenizer.decode(chat.render_prompt(asked("1", "2", "3", system="Count.")))
    assert f"2{tokenizer.eos_token}{NEXT_TURN[0]}3" in shown
    assert all(label in shown for label in (turn_labels.SYSTEM, turn_labels.USER, turn_labels.MODEL))
    # What is learned is the answer and its end, and no label.
    example = row_of(chat, Conversation.pair("1", f"two{NEXT_TURN[0]}three"))
    assert tokenizer.decode(example.output) == f"two{NEXT_TURN[0]}three{tokenizer.eos_token}"


def test_the_default_leaves_out_a_bos_token_that_the_tokenizer_would_not_write():
    tokenizer = build_tokenizer(DIALECTS[Architecture.QWEN3])
    tokenizer.chat_template = None
    tokenizer.bos_token = "<|endoftext|>"
    assert tokenizer.decode(ChatFormat(tokenizer).render_prompt(asked("1"))) == "User:\n1\n\nAssistant:\n"


def test_the_catalogs_template_replaces_the_models():
    chat = with_template(DEFAULT_TEMPLATE, Architecture.LLAMA)
    assert chat.tokenizer.decode(chat.render_prompt(asked("1"))) == "<|begin_of_text|>User:\n1\n\nAssistant:\n"


def test_the_clock_of_templates_stands_still():
    template = "{{ strftime_now('%d %b %Y') }}{% for m in messages %}{{ m.content + eos_token }}{% endfor %}"
    chat = with_template(template)
    assert chat.tokenizer.decode(chat.render_prompt(asked("!"))) == "26 Jul 2024!<|im_end|>"


def test_generation_blocks_and_loop_controls_are_understood():
    template = """\
{%- for m in messages %}{%- if loop.index > 9 %}{% break %}{% endif %}
{%- generation %}{{- m.content + ({'a': 1} | tojson) + eos_token }}{% endgeneration %}{% endfor %}"""
    chat = with_template(template)
    assert chat.tokenizer.decode(chat.render_prompt(asked("<b>"))) == '<b>{"a": 1}<|im_end|>'


def test_turns_that_the_template_refuses_are_the_callers_mistake():
    turns = (Turn.said(Speaker.USER, "a"), Turn.said(Speaker.USER, "b"))
    with pytest.raises(InvalidArgument, match="roles must alternate") as caught:
        FORMATS[Architecture.GEMMA3].render_prompt(Conversation(turns=turns))
    assert [violation.field for violation in caught.value.violations] == ["prompt"]


def test_half_a_surrogate_pair_is_refused_with_its_place(chat):
    with pytest.raises(InvalidArgument, match=r"character 2 is '\\ud800'"):
        chat.render_prompt(asked("ab\ud800"))


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('no') }}", "cannot be rendered: no"),
        ("{% for %}", "cannot be rendered"),
        ("{{ messages[0].content }}", "leaves out what the assistant says"),
        ("{{ ''.__class__.__mro__ }}", "cannot be rendered"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_at_once(template, reason):
    with pytest.raises(InternalError, match=reason):
        with_template(template)


def test_a_model_without_any_end_token_is_refused():
    tokenizer = build_tokenizer(DIALECTS[Architecture.QWEN3])
    tokenizer.eos_token = None
    with pytest.raises(InternalError, match="no token is known that ends a turn"):
        ChatFormat(tokenizer, template="{% for m in messages %}{{ m.role + ': ' + m.content }}{% endfor %}")


@pytest.mark.parametrize("architecture", list(Architecture))
def test_rendering_on_one_thread_does_not_change_what_another_one_encodes(architecture):
    chat = FORMATS[architecture]
    quoting = Conversation(turns=(Turn.said(Speaker.USER, " ".join(CONTROL) * 9),))
    plain = Conversation(turns=(Turn.said(Speaker.USER, "one two"),))
    wanted = {quoting: chat.render_prompt(quoting), plain: chat.render_prompt(plain)}
    wrong = []

    def render(prompt):
        wrong.extend(prompt for _ in range(300) if chat.render_prompt(prompt) != wanted[prompt])

    threads = [threading.Thread(target=render, args=(prompt,)) for prompt in (quoting, plain, quoting, plain)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
