"""Contents to a prompt."""

import pytest

from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import InvalidArgument
from tuningfork.wire.google.prompts import Site, parse_prompt

SITE = Site("GenerateContentRequest")


def said(text, role=None):
    return {"parts": [{"text": text}]} | ({"role": role} if role else {})


def prompt(contents, **members):
    return parse_prompt({"contents": contents, **members}, SITE, must_end_with_user=True)


def refusal(contents, site=SITE):
    with pytest.raises(InvalidArgument) as caught:
        parse_prompt({"contents": contents}, site, must_end_with_user=True)
    return caught.value


def test_a_single_turn_needs_no_role():
    assert prompt([said("LXIII")]) == Conversation(turns=(Turn.said(Speaker.USER, "LXIII"),))


def test_a_conversation_keeps_its_order():
    contents = [said("a", "user"), said("b", "model"), said("c", "user")]

    assert [(turn.speaker, turn.text) for turn in prompt(contents).turns] == [
        (Speaker.USER, "a"),
        (Speaker.MODEL, "b"),
        (Speaker.USER, "c"),
    ]


def test_the_parts_of_a_content_are_one_text():
    assert prompt([{"parts": [{"text": "input: 1"}, {"text": "\noutput: "}]}]).turns[0].text == "input: 1\noutput: "


def test_neighbours_of_one_role_are_one_turn_of_several_lines():
    contents = [said("a", "user"), said("b", "user"), said("c", "model"), said("d", "model"), said("e", "user")]

    assert [turn.text for turn in prompt(contents).turns] == ["a\nb", "c\nd", "e"]


@pytest.mark.parametrize("role", [None, "user", "system", "model"])
def test_a_system_instruction_is_one_whatever_its_role(role):
    assert prompt([said("x")], system_instruction=said("be brief", role)).system_instruction == "be brief"


@pytest.mark.parametrize("instruction", [{}, {"parts": []}, said("")])
def test_an_empty_system_instruction_is_none(instruction):
    assert prompt([said("x")], system_instruction=instruction).system_instruction is None


@pytest.mark.parametrize("role", ["assistant", "USER", "system", "function", "tool"])
def test_there_are_two_roles(role):
    assert refusal([said("x", role)]).message == "Please use a valid role: user, model."


def test_among_several_contents_each_needs_a_role():
    assert refusal([said("x"), said("y", "user")]).message == "Please use a valid role: user, model."


def test_an_answer_follows_the_user():
    message = "Please ensure that multiturn requests ends with a user role or a function response"
    assert refusal([said("x", "user"), said("y", "model")]).message == message


def test_tokens_can_be_counted_whoever_spoke_last():
    contents = {"contents": [said("x", "user"), said("y", "model")]}

    assert len(parse_prompt(contents, SITE, must_end_with_user=False).turns) == 2


@pytest.mark.parametrize(
    ("part", "field", "reason"),
    [
        ({"inline_data": {}}, "contents[1].parts[1].inline_data", "this server takes text parts only"),
        ({"file_data": {}}, "contents[1].parts[1].file_data", "this server takes text parts only"),
        ({"function_response": {}}, "contents[1].parts[1].function_response", "this server takes text parts only"),
        ({}, "contents[1].parts[1].data", "required oneof field 'data' must have one initialized field"),
        ({"thought": True}, "contents[1].parts[1].data", "required oneof field 'data' must have one initialized field"),
    ],
)
def test_only_text_is_taken(part, field, reason):
    error = refusal([said("a", "model"), {"role": "user", "parts": [{"text": "b"}, part]}])

    assert error.violations[0].field == field
    assert error.message.startswith(f"* GenerateContentRequest.{field}: {reason}")


def test_faults_of_an_inner_request_have_the_whole_path():
    site = Site("CountTokensRequest", "generate_content_request.")

    assert refusal([], site).message == (
        "* CountTokensRequest.generate_content_request.contents: contents is not specified\n"
    )
    assert refusal([{"parts": [{}]}], site).violations[0].field == "generate_content_request.contents[0].parts[0].data"
