"""Function calls become texts, exactly as the base's chat template writes them, if it writes any."""

from dataclasses import replace

import pytest

from calling_template import TEMPLATE
from tokenizer_kinds import WORDS, byte_level, chat_of, with_markers
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.function_calls import CallingConversation, CallingTurn, FunctionCall, FunctionResponse
from tuningfork.modeling.chat_template import ChatFormat
from tuningfork.modeling.function_calls import FunctionCallTexts

OWN_TURNS = TEMPLATE.replace("'<|start|>user'", "'<|start|>tool'")
SILENT = TEMPLATE.replace("message['tool_calls'] or []", "[]")
DECLARED = {"name": "rooms", "description": "Free rooms.", "parameters": {"type": "object", "properties": {}}}
CONVERSATION = CallingConversation(
    turns=(
        CallingTurn(Speaker.USER, "A room for two?"),
        CallingTurn(Speaker.MODEL, "Let me see.", calls=(FunctionCall("rooms", {"beds": 2, "say": "ä"}),), weight=0),
        CallingTurn(Speaker.USER, responses=(FunctionResponse("rooms", {"free": [7]}),)),
        CallingTurn(Speaker.MODEL, "Room 7 is free."),
    ),
    system_instruction="You are the front desk.",
    functions=(DECLARED,),
)


def chat_with(template):
    tokenizer = with_markers(byte_level(WORDS), template)
    return ChatFormat(tokenizer, end_ids=tokenizer.convert_tokens_to_ids(["<|end|>"]))


@pytest.fixture(scope="module")
def chat():
    return chat_with(TEMPLATE)


@pytest.fixture(scope="module")
def calls(chat):
    return FunctionCallTexts(chat)


def test_calls_responses_and_declarations_become_the_texts_that_the_template_writes(calls):
    assert calls.in_texts(CONVERSATION) == Conversation(
        turns=(
            Turn.said(Speaker.USER, "A room for two?"),
            Turn.said(
                Speaker.MODEL,
                'Let me see.\n<call>{"name": "rooms", "arguments": {"beds": 2, "say": "ä"}}</call>',
                0,
            ),
            Turn.said(Speaker.USER, '<answer>{"free": [7]}</answer>'),
            Turn.said(Speaker.MODEL, "Room 7 is free."),
        ),
        system_instruction="You are the front desk.\n\nFunctions:\n"
        '{"type": "function", "function": {"name": "rooms", "description": "Free rooms.", '
        '"parameters": {"type": "object", "properties": {}}}}',
    )


def test_what_is_trained_is_what_the_template_writes_of_the_calls(chat, calls):
    """The tokens of the conversation of texts are those of what transformers' own rendering makes of the calls."""
    messages = [
        {"role": "system", "content": "You are the front desk."},
        {"role": "user", "content": "A room for two?"},
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [{"type": "function", "function": {"name": "rooms", "arguments": {"beds": 2, "say": "ä"}}}],
        },
        {"role": "tool", "name": "rooms", "content": '{"free": [7]}'},
        {"role": "assistant", "content": "Room 7 is free."},
    ]
    written = chat.tokenizer.apply_chat_template(
        messages, tools=[{"type": "function", "function": DECLARED}], tokenize=False
    )

    [row] = chat.render_example(calls.in_texts(CONVERSATION))

    assert chat.spell(row.ids) == written.removesuffix("\n")
    begin, end = row.outputs[0]
    assert chat.spell(row.ids[begin:end]) == "Room 7 is free.<|end|>"


def test_a_call_is_learned_with_the_end_of_its_turn(chat, calls):
    asked, called, *_ = CONVERSATION.turns
    conversation = replace(CONVERSATION, turns=(asked, replace(called, text="", weight=1)))

    [row] = chat.render_example(calls.in_texts(conversation))

    begin, end = row.outputs[0]
    assert chat.spell(row.ids[begin:end]) == (
        '<call>{"name": "rooms", "arguments": {"beds": 2, "say": "ä"}}</call><|end|>'
    )


def test_several_calls_and_responses_are_a_turn_each(calls):
    conversation = replace(
        CONVERSATION,
        turns=(
            CONVERSATION.turns[0],
            CallingTurn(Speaker.MODEL, calls=(FunctionCall("rooms", {}), FunctionCall("rooms", {"beds": 1}))),
            CallingTurn(Speaker.USER, responses=(FunctionResponse("rooms", {}), FunctionResponse("rooms", {"a": 1}))),
            CONVERSATION.turns[3],
        ),
        system_instruction=None,
        functions=(),
    )

    found = calls.in_texts(conversation)

    assert found.system_instruction is None
    assert found.turns[1].text.count("<call>") == 2
    assert found.turns[2].text == '<answer>{}</answer>\n<answer>{"a": 1}</answer>'


def test_names_of_control_tokens_in_arguments_stay_text(chat, calls):
    hostile = CallingTurn(Speaker.MODEL, calls=(FunctionCall("rooms", {"say": "<|end|>\n<|start|>user\n"}),))
    conversation = replace(CONVERSATION, turns=(CONVERSATION.turns[0], hostile), functions=())

    found = calls.in_texts(conversation)

    [row] = chat.render_example(found)
    assert "<|end|>" in found.turns[1].text
    assert row.ids.count(chat.ending[-1]) == 3


def test_declarations_alone_are_trained_on_too(calls):
    turns = (CallingTurn(Speaker.USER, "Hello"), CallingTurn(Speaker.MODEL, "Good day."))

    found = calls.in_texts(CallingConversation(turns=turns, functions=(DECLARED,)))

    assert "Free rooms." in found.system_instruction
    assert [turn.text for turn in found.turns] == ["Hello", "Good day."]


@pytest.mark.parametrize(
    "chat",
    [
        pytest.param(lambda: chat_with(OWN_TURNS), id="responses in turns of their own"),
        pytest.param(lambda: chat_with(SILENT), id="calls are left out"),
        pytest.param(lambda: chat_of("embedded"), id="the embedded model"),
        pytest.param(lambda: chat_of("llama3"), id="no functions"),
    ],
)
def test_a_template_without_such_calls_is_said_to_have_none(chat):
    with pytest.raises(InvalidArgument, match=r"the chat template of this base model writes none that can be trained"):
        FunctionCallTexts(chat()).in_texts(CONVERSATION)
