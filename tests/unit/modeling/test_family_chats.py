"""Chats as the families of real models write them: what is given, what is learned, and where an answer ends.

The templates are ours and do what those of the families do: a system turn in a place of its own, inside a question, or
refused; a system turn that nobody asked for; dates; thinking that is opened, closed or switched off; ends of turns that
the tokenizer calls otherwise than the generation config does; no template at all.
"""

import json
import shutil
from dataclasses import dataclass, replace

import pytest

from rendering import row_of
from tiny_models import DIALECTS, Architecture, Dialect, build_tokenizer, tiny_base_model
from tuningfork.domain.conversation import Conversation, Preference, Speaker, Turn
from tuningfork.domain.errors import InvalidArgument
from tuningfork.modeling.chat_template import ChatFormat
from tuningfork.modeling.loading import load_base

ALTERNATING = """\
{%- for message in messages %}{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}
{{- raise_exception('turns must alternate') }}{% endif %}{% endfor %}"""

MISTRAL_OLD = (
    "{{ bos_token }}"
    + ALTERNATING
    + """\
{%- for message in messages %}
{%- if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}
{%- elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}
{%- else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}
{%- endfor %}"""
)
MISTRAL = """\
{%- if messages[0]['role'] == 'system' %}
{%- set system_message = messages[0]['content'] %}{% set loop_messages = messages[1:] %}
{%- else %}{% set loop_messages = messages %}{% endif %}
{{- bos_token }}
{%- for message in loop_messages %}
{%- if message['role'] == 'user' %}
{{- '[INST] ' + (system_message + '\\n\\n' if loop.last and system_message is defined else '') }}
{{- message['content'] + '[/INST]' }}
{%- elif message['role'] == 'assistant' %}{{ ' ' + message['content'] | trim + eos_token }}{% endif %}
{%- endfor %}"""
PHI3 = """\
{%- for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"""
QWEN2 = """\
{%- for message in messages %}
{%- if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nBe helpful.<|im_end|>\\n' }}{% endif %}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
LLAMA31 = """\
{{- bos_token }}
{%- if not date_string is defined %}
{%- if strftime_now is defined %}{% set date_string = strftime_now('%d %b %Y') %}
{%- else %}{% set date_string = '26 Jul 2024' %}{% endif %}{% endif %}
{%- if messages[0]['role'] == 'system' %}
{%- set system = messages[0]['content'] | trim %}{% set messages = messages[1:] %}
{%- else %}{% set system = '' %}{% endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' + 'Today: ' + date_string + '\\n\\n' + system + '<|eot_id|>' }}
{%- for message in messages %}
{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""
GEMMA3 = """\
{{ bos_token }}
{%- if messages[0]['role'] == 'system' %}
{%- set prefix = messages[0]['content'] + '\\n\\n' %}{% set loop_messages = messages[1:] %}
{%- else %}{% set prefix = '' %}{% set loop_messages = messages %}{% endif %}
{%- for message in loop_messages %}
{%- set role = 'model' if message['role'] == 'assistant' else message['role'] %}
{{- '<start_of_turn>' + role + '\\n' + (prefix if loop.first else '') }}
{%- if message['content'] is string %}{{ message['content'] | trim }}
{%- elif message['content'] is iterable %}{% for item in message['content'] %}{{ item['text'] | trim }}{% endfor %}
{%- else %}{{ raise_exception('Invalid content type') }}{% endif %}
{{- '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"""
SMOLLM3 = """\
{%- if enable_thinking is not defined %}{% set enable_thinking = true %}{% endif %}
{%- set mode = '/think' if enable_thinking else '/no_think' %}
{%- if messages[0].role == 'system' %}{% set said = messages[0].content.replace('/no_think', '').rstrip() %}
{%- else %}{% set said = '' %}{% endif %}
{{- '<|im_start|>system\\nMode: ' + mode + '\\n' + said + '<|im_end|>\\n' }}
{%- for message in messages %}
{%- if message.role == 'user' %}{{ '<|im_start|>user\\n' + message.content + '<|im_end|>\\n' }}
{%- elif message.role == 'assistant' %}{% generation %}
{{- '<|im_start|>assistant\\n' + ('' if mode == '/think' else '<think>\\n\\n</think>\\n') }}
{{- message.content.lstrip('\\n') + '<|im_end|>\\n' }}
{%- endgeneration %}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{%- if mode == '/think' %}{{ '<|im_start|>assistant\\n' }}
{%- else %}{{ '<|im_start|>assistant\\n<think>\\n\\n</think>\\n' }}{% endif %}{% endif %}"""


@dataclass(frozen=True, kw_only=True)
class Chat:
    """A family's dialect and what is to come of "Q", answered "A", with "S" as the system instruction."""

    dialect: Dialect
    header: str
    with_system: str
    output: str


SENTENCES = Dialect(template=MISTRAL, specials=("<s>", "</s>"), bos="<s>", eos="</s>", ends=("</s>",))
PHI = Dialect(
    template=PHI3,
    specials=("<|endoftext|>", "<|assistant|>", "<|system|>", "<|user|>", "<|end|>"),
    bos=None,
    eos="<|endoftext|>",
    ends=("<|endoftext|>", "<|assistant|>", "<|end|>"),
)
LLAMA_HEADER = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nToday: 26 Jul 2024\n\n{}<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nQ<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
)
QWEN_TURNS = "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"

CHATS = {
    "mistral-0.1": Chat(
        dialect=replace(SENTENCES, template=MISTRAL_OLD),
        header="<s>[INST] Q [/INST]",
        with_system="<s>[INST] S\n\nQ [/INST]",
        output="A</s>",
    ),
    "mistral-0.3": Chat(
        dialect=SENTENCES,
        header="<s>[INST] Q[/INST]",
        with_system="<s>[INST] S\n\nQ[/INST]",
        output=" A</s>",
    ),
    "phi-3": Chat(
        dialect=PHI,
        header="<|user|>\nQ<|end|>\n<|assistant|>\n",
        with_system="<|system|>\nS<|end|>\n<|user|>\nQ<|end|>\n<|assistant|>\n",
        output="A<|end|>",
    ),
    "qwen-2": Chat(
        dialect=replace(DIALECTS[Architecture.QWEN3], template=QWEN2),
        header="<|im_start|>system\nBe helpful.<|im_end|>\n" + QWEN_TURNS,
        with_system="<|im_start|>system\nS<|im_end|>\n" + QWEN_TURNS,
        output="A<|im_end|>",
    ),
    "llama-3.1": Chat(
        dialect=replace(DIALECTS[Architecture.LLAMA], template=LLAMA31),
        header=LLAMA_HEADER.format(""),
        with_system=LLAMA_HEADER.format("S"),
        output="A<|eot_id|>",
    ),
    "gemma-2": Chat(
        dialect=DIALECTS[Architecture.GEMMA3],
        header="<bos><start_of_turn>user\nQ<end_of_turn>\n<start_of_turn>model\n",
        with_system="<bos><start_of_turn>user\nS\n\nQ<end_of_turn>\n<start_of_turn>model\n",
        output="A<end_of_turn>",
    ),
    "gemma-3": Chat(
        dialect=replace(DIALECTS[Architecture.GEMMA3], template=GEMMA3),
        header="<bos><start_of_turn>user\nQ<end_of_turn>\n<start_of_turn>model\n",
        with_system="<bos><start_of_turn>user\nS\n\nQ<end_of_turn>\n<start_of_turn>model\n",
        output="A<end_of_turn>",
    ),
    "smollm-3": Chat(
        dialect=replace(DIALECTS[Architecture.QWEN3], template=SMOLLM3),
        header="<|im_start|>system\nMode: /no_think\n<|im_end|>\n" + QWEN_TURNS + "<think>\n\n</think>\n",
        with_system="<|im_start|>system\nMode: /no_think\nS<|im_end|>\n" + QWEN_TURNS + "<think>\n\n</think>\n",
        output="A<|im_end|>",
    ),
    # Phi-1 and 2 and every model that was not taught to chat.
    "no template": Chat(
        dialect=replace(PHI, template=None),
        header="User:\nQ\n\nAssistant:\n",
        with_system="System:\nS\n\nUser:\nQ\n\nAssistant:\n",
        output="A<|endoftext|>",
    ),
}


@pytest.fixture(params=list(CHATS))
def family(request) -> tuple[Chat, ChatFormat]:
    expected = CHATS[request.param]
    tokenizer = build_tokenizer(expected.dialect)
    return expected, ChatFormat(tokenizer, end_ids=tokenizer.convert_tokens_to_ids(list(expected.dialect.ends)))


def asked(*texts: str, system: str | None = None) -> Conversation:
    speakers = [Speaker.USER, Speaker.MODEL] * len(texts)
    turns = tuple(Turn.said(speaker, text) for speaker, text in zip(speakers, texts, strict=False))
    return Conversation(turns=turns, system_instruction=system)


def test_a_question_is_written_as_the_family_writes_it(family):
    expected, chat = family
    assert chat.spell(chat.render_prompt(asked("Q"))) == expected.header


def test_a_system_instruction_has_its_place_in_every_family(family):
    expected, chat = family
    assert chat.spell(chat.render_prompt(asked("Q", system="S"))) == expected.with_system


def test_what_is_learned_is_the_answer_and_the_families_end_of_a_turn(family):
    expected, chat = family
    rendered = row_of(chat, Conversation.pair("Q", "A"))
    assert chat.spell(rendered.header) == expected.header
    assert chat.spell(rendered.output) == expected.output


def test_generation_ends_at_all_ends_that_the_model_knows(family):
    expected, chat = family
    learned = row_of(chat, Conversation.pair("Q", "A")).output[-1]
    assert chat.end_of_turn_ids == {learned, *chat.tokenizer.convert_tokens_to_ids(list(expected.dialect.ends))}


def test_earlier_answers_of_a_conversation_are_written_as_they_were_learned(family):
    _, chat = family
    learned = chat.spell(row_of(chat, Conversation.pair("Q", "A")).output)
    assert learned in chat.spell(chat.render_prompt(asked("Q", "A", "R")))


def conversation(*texts: str, system: str | None = None, weights=(1, 1, 1)) -> Conversation:
    """Question, answer, question, answer ... of which the answers have these weights."""
    prompt = asked(*texts, system=system)
    turns = [
        replace(turn, weight=weights[index // 2]) if index % 2 else turn for index, turn in enumerate(prompt.turns)
    ]
    return replace(prompt, turns=tuple(turns))


def outputs(rows):
    """Each learned turn in order: the tokens before it, and its own."""
    return [(list(row.ids[:begin]), list(row.ids[begin:end])) for row in rows for begin, end in row.outputs]


@pytest.mark.parametrize("system", [None, "S"])
@pytest.mark.parametrize("texts", [("Q", "A", "R", "B", "S", "C"), ("Q", " A \n", "R", "\n B", "S", "C ")])
def test_each_answer_of_a_conversation_is_learned_behind_the_prompt_that_serving_renders(family, texts, system):
    _, chat = family
    rows = chat.render_example(conversation(*texts, system=system))
    learned = outputs(rows)
    prompts = [asked(*texts[:end], system=system) for end in (1, 3, 5)]
    alone = [chat.render_answer(prompt, texts[len(prompt.turns)]) for prompt in prompts]
    assert [before for before, _ in learned] == [chat.render_prompt(prompt) for prompt in prompts]
    assert [own for _, own in learned] == [list(row.output) for row in alone]
    assert all(row.outputs[-1][1] == len(row.ids) for row in rows)


def test_answers_share_a_row_wherever_the_family_writes_earlier_ones_as_they_were_learned(family, request):
    _, chat = family
    # Its template moves the system instruction to the last question.
    moves = "mistral-0.3" in request.node.name
    assert len(chat.render_example(conversation("Q", "A", "R", "B", system="S"))) == (2 if moves else 1)
    assert len(chat.render_example(conversation("Q", "A", "R", "B"))) == 1


def test_an_answer_of_weight_zero_is_read_and_not_learned(family):
    _, chat = family
    row = row_of(chat, conversation("Q", "A", "R", "B", weights=(0, 1)))
    assert list(row.header) == chat.render_prompt(asked("Q", "A", "R"))
    assert chat.render_example(conversation("Q", "A", "R", "B", weights=(1, 0))) == chat.render_example(
        conversation("Q", "A")
    )


def test_both_answers_of_a_preference_follow_the_prompt_that_serving_renders(family):
    _, chat = family
    prompt = asked("Q", "A", "R", system="S")
    chosen, rejected = chat.render_preference(Preference(prompt=prompt, chosen=("B",), rejected=("C", "D")))
    assert list(chosen.header) == list(rejected.header) == chat.render_prompt(prompt)
    assert chat.spell(chosen.output).strip().startswith("B")
    assert chat.spell(rejected.output).strip().startswith("CD")


def test_turns_in_another_order_than_the_family_allows_are_the_callers_mistake():
    chat = ChatFormat(build_tokenizer(CHATS["mistral-0.1"].dialect))
    turns = (Turn.said(Speaker.USER, "Q"), Turn.said(Speaker.USER, "R"))
    with pytest.raises(InvalidArgument, match="turns must alternate"):
        chat.render_prompt(Conversation(turns=turns))


def model_without(directory, copy, **settings):
    """A copy of a model whose generation config is gone and whose config says this instead."""
    shutil.copytree(directory, copy)
    (copy / "generation_config.json").unlink()
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | settings))
    return tiny_base_model(Architecture.LLAMA, copy)


def test_ends_are_found_in_the_config_where_there_is_no_generation_config(tiny_directories, tmp_path):
    base = load_base(model_without(tiny_directories["llama"], tmp_path / "copy", eos_token_id=[7, 9]))
    assert base.chat.end_of_turn_ids >= {7, 9}
    base = load_base(model_without(tiny_directories["llama"], tmp_path / "other", eos_token_id=8))
    assert 8 in base.chat.end_of_turn_ids


def test_without_any_of_them_the_tokenizer_says_what_ends_a_turn(tiny_directories, tmp_path):
    base = load_base(model_without(tiny_directories["llama"], tmp_path / "copy", eos_token_id=None))
    assert base.chat.end_of_turn_ids == {base.chat.tokenizer.eos_token_id}
