"""Rows of training files become conversations, or sentences that say what is wrong."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exploring import often
from tuningfork.domain.base_model import OWN_LIMITS
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.dataset import violations_of
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.function_calls import CallingConversation, CallingTurn, FunctionCall, FunctionResponse
from tuningfork.domain.training_rows import CallingRow
from tuningfork.wire.vertex.rows import read_row

ASKED = {"role": "user", "parts": [{"text": "1"}]}
ANSWERED = {"role": "model", "parts": [{"text": "2"}]}


def row(fields):
    return read_row(json.dumps(fields).encode())


def refusal(fields):
    line = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    with pytest.raises(InvalidArgument) as refused:
        read_row(line)
    return refused.value.message


def user(text):
    return Turn.said(Speaker.USER, text)


def model(text, weight=1):
    return Turn.said(Speaker.MODEL, text, weight)


def test_a_question_and_its_answer_are_a_pair():
    found = row({"contents": [ASKED, ANSWERED]})

    assert found.example == Conversation.pair("1", "2")
    assert found.messages == 2


@pytest.mark.parametrize("name", ["systemInstruction", "system_instruction"])
def test_each_part_of_a_system_instruction_is_a_paragraph(name):
    instruction = {"role": "user", "parts": [{"text": "Be brief."}, {"text": "Be kind."}]}

    assert row({name: instruction, "contents": [ASKED, ANSWERED]}).example.system_instruction == "Be brief.\n\nBe kind."


def test_several_turns_are_read_with_their_weights():
    contents = [ASKED, ANSWERED | {"weight": 0}, ASKED, ANSWERED | {"weight": 1}]

    assert row({"contents": contents}).example.turns == (user("1"), model("2", 0), user("1"), model("2"))


def test_roles_may_be_in_upper_case_and_a_single_part_without_a_list():
    contents = [{"role": "USER", "parts": {"text": "1"}}, {"role": "Model", "parts": {"text": "2"}}]

    assert row({"contents": contents}).example == Conversation.pair("1", "2")


def test_the_texts_of_an_entry_are_joined_and_neighbours_of_one_role_are_lines_of_one_turn():
    contents = [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}, ASKED, ANSWERED]
    found = row({"contents": contents})

    assert found.example == Conversation.pair("ab\n1", "2")
    assert found.messages == 3


def test_turns_of_the_model_with_different_weights_stay_apart():
    contents = [ASKED, ANSWERED | {"weight": 0}, ANSWERED]

    assert row({"contents": contents}).example.turns == (user("1"), model("2", 0), model("2"))


def test_null_and_empty_lists_are_as_if_they_were_not_there():
    fields = {"contents": [ASKED, ANSWERED], "systemInstruction": {}, "tools": [], "messages": None}

    assert row(fields).example == Conversation.pair("1", "2")


def test_the_media_resolution_of_texts_means_nothing():
    fields = {"contents": [ASKED, ANSWERED], "generationConfig": {"mediaResolution": "MEDIA_RESOLUTION_LOW"}}

    assert row(fields).example == Conversation.pair("1", "2")


def test_a_byte_order_mark_may_begin_the_file():
    line = b"\xef\xbb\xbf" + json.dumps({"contents": [ASKED, ANSWERED]}).encode()

    assert read_row(line).example == Conversation.pair("1", "2")


def test_the_form_of_earlier_models_is_read_too():
    messages = [
        {"role": "system", "content": "!"},
        {"role": "user", "content": "1"},
        {"role": "model", "content": "2"},
        {"role": "user", "content": "3"},
        {"role": "assistant", "content": "4"},
    ]
    found = row({"messages": messages})

    assert found.example == Conversation(turns=(user("1"), model("2"), user("3"), model("4")), system_instruction="!")
    assert found.messages == 4


@pytest.mark.parametrize("fields", [{}, {"prompt": "1"}, {"contents": None}])
def test_a_row_without_contents_is_refused_in_the_services_own_words(fields):
    assert refusal(fields) == "Missing required 'contents' field."


def test_a_row_of_the_service_before_is_told_its_new_form():
    said = refusal({"input_text": "1", "output_text": "2"})

    assert said.startswith("Missing required 'contents' field. Rows of input_text and output_text are of an earlier")
    assert '{"contents": [{"role": "user", "parts": [{"text": input_text}]}' in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"contents": [', "The row is not valid JSON: Expecting value (character 15)."),
        (b"\xff", "The row is not UTF-8: byte 0 is 0xff."),
        (b"[1]", "A row must be a JSON object; a list was given."),
        (b"null", "A row must be a JSON object; null was given."),
        (b"[" * 100_000, "The row is nested too deep."),
        (b'{"a": ' * 100_000, "The row is nested too deep."),
        (b'{"a": 1' + b"0" * 100_000 + b"}", "The row has a number with too many digits."),
    ],
)
def test_a_line_that_is_no_object_is_refused(line, said):
    assert refusal(line) == said


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"fileData": {"fileUri": "gs://b/a.png"}}, "contents[0].parts[1].fileData: a file was given"),
        ({"file_data": {"file_uri": "gs://b/a.png"}}, "contents[0].parts[1].fileData: a file was given"),
        ({"inlineData": {"data": "aaaa"}}, "contents[0].parts[1].inlineData: a file was given"),
        ({"functionCall": {"name": "f"}}, "contents[0].role: must be model, since the content has function calls."),
        ({"function_response": {"name": "f"}}, "contents[0].parts: has responses of functions beside other parts"),
        ({"functionCall": {"name": "f"}, "text": "x"}, "contents[0].parts[1].functionCall: a part has nothing else"),
        ({"functionCall": {}}, "contents[0].parts[1].functionCall.name: the name of the function is missing."),
        ({"functionCall": "f"}, "contents[0].parts[1].functionCall: a function call must be an object with a name"),
        ({"functionCall": {"name": "f", "args": [1]}}, "contents[0].parts[1].functionCall.args: an object is wanted"),
        ({"functionCall": {"name": "f", "arg": {}}}, "contents[0].parts[1].functionCall: unknown field 'arg'; a func"),
        ({"functionCall": {"name": "f", "args": {"a": "\ud800"}}}, "contents[0].parts[1].functionCall.args: must be"),
        ({"functionCall": {"name": "f", "args": {"a": float("nan")}}}, "contents[0].parts[1].functionCall.args: has a"),
        ({"text": "why", "thought": True}, "contents[0].parts[1].thought: a thought was given"),
        ({"text": 7}, "contents[0].parts[1].text: a text is wanted; a number was given."),
        ({}, "contents[0].parts[1].text: a text is wanted; null was given."),
        ({"texts": "a"}, "contents[0].parts[1]: unknown field 'texts'; a part has text."),
        ("a", "contents[0].parts[1]: a part must be an object with text; a text was given."),
    ],
)
def test_a_part_that_is_not_text_is_refused_with_its_place(part, said):
    contents = [{"role": "user", "parts": [{"text": "1"}, part]}, ANSWERED]

    assert refusal({"contents": contents}).startswith(said)


CALL = {"role": "model", "parts": [{"text": "Let me see."}, {"functionCall": {"name": "f", "args": {"a": [1, "ä"]}}}]}
RESPONSE = {"parts": [{"functionResponse": {"name": "f", "response": {"b": 2}}}]}
TOOLS = [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT", "properties": {"a": {}}}}]}]


def test_a_row_with_calls_becomes_a_conversation_with_calls():
    fields = {"contents": [ASKED, CALL, RESPONSE, ANSWERED], "systemInstruction": {"parts": {"text": "!"}}}

    found = row(fields | {"tools": TOOLS})

    assert found == CallingRow(
        conversation=CallingConversation(
            turns=(
                CallingTurn(Speaker.USER, "1"),
                CallingTurn(Speaker.MODEL, "Let me see.", calls=(FunctionCall("f", {"a": [1, "ä"]}),)),
                CallingTurn(Speaker.USER, responses=(FunctionResponse("f", {"b": 2}),)),
                CallingTurn(Speaker.MODEL, "2"),
            ),
            system_instruction="!",
            functions=(
                {
                    "name": "f",
                    "description": "",
                    "parameters": {"type": "object", "properties": {"a": {}}},
                },
            ),
        ),
        messages=4,
    )


@pytest.mark.parametrize("role", ["user", "function", "tool", "FUNCTION", None, ""])
def test_a_response_is_the_users_whatever_its_role_says(role):
    contents = [ASKED, CALL, RESPONSE | {"role": role}, ANSWERED]

    assert row({"contents": contents}).conversation.turns[2].speaker is Speaker.USER


def test_calls_beside_one_another_and_their_responses_are_a_turn_each():
    def two(kind, role):
        return {"role": role, "parts": [{kind: {"name": name}} for name in ("f", "g")]}

    contents = [ASKED, two("functionCall", "model"), two("function_response", "user"), ANSWERED]
    turns = row({"contents": contents}).conversation.turns

    assert [call.name for call in turns[1].calls] == ["f", "g"]
    assert [response.name for response in turns[2].responses] == ["f", "g"]


def test_a_call_may_be_what_a_row_ends_with():
    assert row({"contents": [ASKED, CALL]}).conversation.turns[-1].calls


def test_texts_before_a_call_are_joined_with_it():
    contents = [ASKED, ANSWERED, {"role": "model", "parts": [{"functionCall": {"name": "f"}}]}, RESPONSE, ANSWERED]

    turn = row({"contents": contents}).conversation.turns[1]

    assert (turn.text, len(turn.calls)) == ("2", 1)


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        ([ASKED, ANSWERED, RESPONSE, ANSWERED], "contents[2]: no function 'f' was called before that still waits."),
        ([ASKED, CALL, RESPONSE, RESPONSE, ANSWERED], "contents[3]: no function 'f' was called before"),
        ([ASKED, CALL, ASKED, ANSWERED], "contents[2]: the response of the function 'f' must come before."),
        ([ASKED, CALL, ANSWERED], "contents[2]: the response of the function 'f' must come before."),
        ([RESPONSE, ANSWERED], "contents[0]: no function 'f' was called before"),
        ([ASKED, {"role": "model", "parts": CALL["parts"][::-1]}], "contents[1].parts: has a text after a function ca"),
        ([ASKED, CALL, RESPONSE | {"role": "model"}, ANSWERED], "contents[2].role: must be user or function; 'model'"),
    ],
)
def test_calls_and_responses_out_of_order_are_refused_with_their_place(contents, said):
    assert refusal({"contents": contents}).startswith(said)


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ([{"googleSearch": {"a": 1}}], "tools[0].googleSearch: 'googleSearch' is not trained on here"),
        (["f"], "tools[0]: a tool must be an object with functionDeclarations; a text was given."),
        ({"functionDeclarations": []}, "tools: must be a list; an object was given."),
        ([{"function_declarations": [{}]}], "tools[0].functionDeclarations[0].name: the name of the function is miss"),
        ([{"functionDeclarations": [{"name": "f", "x": 1}]}], "tools[0].functionDeclarations[0]: unknown field 'x'"),
        ([{"functionDeclarations": [{"name": 7}]}], "tools[0].functionDeclarations[0].name: a text is wanted; a numb"),
    ],
)
def test_a_tool_that_is_no_function_is_refused_by_name(tools, said):
    assert refusal({"contents": [ASKED, ANSWERED], "tools": tools}).startswith(said)


def test_schemas_of_the_api_become_json_schemas():
    parameters = {
        "type": "OBJECT",
        "properties": {"type": {"type": "STRING"}, "b": {"any_of": [{"type": "ARRAY", "items": {"type": "NUMBER"}}]}},
        "nullable": None,
    }
    declared = {"name": "f", "description": "d", "parameters": parameters, "response": {"type": "STRING"}}

    found = row({"contents": [ASKED, CALL], "tools": [{"functionDeclarations": [declared]}]})

    [function] = found.conversation.functions
    assert function == {
        "name": "f",
        "description": "d",
        "parameters": {
            "type": "object",
            "properties": {
                "type": {"type": "string"},
                "b": {"anyOf": [{"type": "array", "items": {"type": "number"}}]},
            },
        },
    }


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"toolConfig": {"a": 1}}, "toolConfig: how functions are to be called is not trained on here"),
        ({"completions": [{"score": 1.0}]}, "completions: rows with completions are for preference tuning"),
        ({"generationConfig": {"temperature": 1}}, "generationConfig: a row may set mediaResolution there"),
        ({"system_instructions": {"parts": []}}, "Unknown field 'system_instructions'; a row may have contents"),
        ({"messages": [{}]}, "Unknown field 'messages'"),
        ({"x" * 1_000: 1}, f"Unknown field '{'x' * 40}...'"),
        ({name: {"parts": [{"text": "!"}]} for name in ("systemInstruction", "system_instruction")}, "systemInstruct"),
        ({"systemInstruction": {"parts": [{"fileData": {}}]}}, "systemInstruction.parts[0].fileData: a file was given"),
        ({"systemInstruction": "!"}, "systemInstruction: parts are missing"),
    ],
)
def test_what_would_be_lost_is_refused_by_name(fields, said):
    assert refusal({"contents": [ASKED, ANSWERED], **fields}).startswith(said)


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        ({}, "contents: must be a list; an object was given."),
        ([], "contents: at least a turn of the user and a turn of the model are required."),
        ([ASKED], "contents[0].role: the last turn must be the model's."),
        ([ANSWERED], "contents[0].role: the first turn must be the user's."),
        ([ASKED, ANSWERED, ASKED], "contents[2].role: the last turn must be the model's."),
        ([ASKED, ANSWERED | {"weight": 0}], "contents: every turn of the model has weight 0"),
        ([ASKED, {"role": "model", "parts": [{"text": ""}]}], "contents[1]: a turn of the model that is learned must"),
        ([ASKED, {"role": "model", "parts": [{"text": "\ud800"}]}], "contents[1].parts[0].text: must be valid Unicode"),
        ([ASKED, ANSWERED | {"weight": 0.5}], "contents[1].weight: must be 0 or 1."),
        ([ASKED, ANSWERED | {"weight": True}], "contents[1].weight: must be 0 or 1."),
        ([ASKED, ANSWERED | {"role": "assistant"}], "contents[1].role: must be user or model; 'assistant' was given."),
        ([ASKED, {"parts": [{"text": "2"}]}], "contents[1].role: must be user or model; none was given."),
        ([ASKED, ANSWERED | {"role": 7}], "contents[1].role: must be user or model; a number was given."),
        ([ASKED, ANSWERED | {"name": "x"}], "contents[1]: unknown field 'name'"),
        ([ASKED, {"role": "model"}], "contents[1]: parts are missing"),
        ([ASKED, "2"], "contents[1]: a content must be an object"),
    ],
)
def test_contents_that_cannot_be_learned_are_refused_with_their_place(contents, said):
    assert refusal({"contents": contents}).startswith(said)


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([], "messages: at least a turn of the user"),
        ([{"role": "user", "content": "1"}, {"role": "system", "content": "!"}], "messages[1].role: must be user or"),
        ([{"role": "system", "content": "!"}, {"role": "model", "content": "1"}], "messages[1].role: the first turn"),
        ([{"role": "system", "content": "!"}, {"role": "user", "content": "1"}], "messages[1].role: the last turn"),
        ([{"role": "user", "content": ["1"]}], "messages[0].content: a text is wanted; a list was given."),
        ([{"role": "user", "content": "1", "tool_calls": [1]}], "messages[0]: unknown field 'tool_calls'"),
        (["1"], "messages[0]: a message must be an object"),
    ],
)
def test_messages_that_cannot_be_learned_are_refused_with_their_place(messages, said):
    assert refusal({"messages": messages}).startswith(said)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda deeper: st.lists(deeper, max_size=3) | st.dictionaries(st.text(max_size=5), deeper, max_size=3),
    max_leaves=8,
)
PARTS = st.fixed_dictionaries({}, optional={"text": st.text(st.characters(), max_size=5) | JSON, "thought": JSON})
CONTENTS = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "model", "USER"]) | JSON},
    optional={"parts": PARTS | st.lists(PARTS, max_size=2), "weight": st.sampled_from([0, 1]) | JSON, "content": JSON},
)
ROWS = st.fixed_dictionaries(
    {},
    optional={
        "contents": st.lists(CONTENTS, max_size=4) | JSON,
        "messages": st.lists(CONTENTS, max_size=4) | JSON,
        "systemInstruction": CONTENTS | JSON,
        "generationConfig": JSON,
    },
)


@settings(max_examples=often(200), deadline=None)
@given(fields=ROWS)
def test_whatever_a_row_is_it_is_an_example_that_meets_the_rules_or_refused(fields):
    try:
        example = row(fields).example
    except InvalidArgument:
        assert refusal(fields).endswith(".")
    else:
        assert violations_of((example,), OWN_LIMITS, "examples") == ()


@settings(max_examples=often(100), deadline=None)
@given(line=st.binary(max_size=40))
def test_whatever_the_bytes_of_a_line_are_they_are_refused_in_a_sentence(line):
    with pytest.raises(InvalidArgument, match=r"\.$"):
        read_row(line)


def test_nothing_stands_beside_messages():
    assert refusal({"messages": [], "tools": [1]}) == (
        "Unknown field 'tools'; a row of messages has nothing beside them."
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (b'{"contents": [], "contents": []}', "'contents' twice"),
        (
            b'{"contents": [], "systemInstruction": {"parts": [{"text": "x"}], "text": "lost"}}',
            "systemInstruction: unknown field 'text'",
        ),
    ],
)
def test_nothing_of_a_row_is_lost_unsaid(row, said):
    with pytest.raises(InvalidArgument, match=said):
        read_row(row)
