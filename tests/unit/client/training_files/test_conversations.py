"""Conversations are read in every usual format, whole: system texts and all turns, or refused with the reason."""

import json

import pytest

from tuningfork.client import training_files
from tuningfork.client.errors import TrainingFileError
from tuningfork.client.training_files import Columns
from tuningfork.domain.conversation import Conversation, Speaker, Turn


def said(*texts, system=None):
    """A conversation in which user and model take turns."""
    speakers = (Speaker.USER, Speaker.MODEL)
    turns = tuple(Turn.said(speakers[index % 2], text) for index, text in enumerate(texts))
    return Conversation(turns=turns, system_instruction=system)


TWO_TURNS = said("Hi", "Hello", "Bye", "Goodbye", system="Be short.")

MESSAGES = {
    "messages": [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Bye"},
        {"role": "assistant", "content": "Goodbye"},
    ]
}
IN_PARTS = {
    "messages": [
        {"role": "developer", "content": [{"type": "text", "text": "Be short."}]},
        *(
            {**message, "content": [{"type": "text", "text": message["content"]}]}
            for message in MESSAGES["messages"][1:]
        ),
    ],
    "tools": [],
}
BESIDE = {"system": "Be short.", "messages": MESSAGES["messages"][1:]}
PALM = {
    "context": "Be short.",
    "messages": [
        {"author": {"user": "user", "assistant": "bot"}[message["role"]], "content": message["content"]}
        for message in MESSAGES["messages"][1:]
    ],
}
CONTENTS = {
    "systemInstruction": {"role": "system", "parts": [{"text": "Be "}, {"text": "short."}]},
    "contents": [
        {"role": "user", "parts": [{"text": "Hi"}]},
        {"role": "model", "parts": [{"text": "Hel"}, {"text": "lo"}]},
        {"role": "user", "parts": [{"text": "Bye"}]},
        {"role": "model", "parts": [{"text": "Goodbye"}]},
    ],
}
SNAKE = {"system_instruction": "Be short.", "contents": CONTENTS["contents"]}
SHAREGPT = {
    "conversations": [
        {"from": "system", "value": "Be short."},
        {"from": "human", "value": "Hi"},
        {"from": "gpt", "value": "Hello"},
        {"from": "human", "value": "Bye"},
        {"from": "gpt", "value": "Goodbye"},
    ],
    "id": "x",
}
SHAREGPT_BESIDE = {"system": "Be short.", "conversations": SHAREGPT["conversations"][1:]}
STUDIO = {
    "runSettings": {"model": "models/gemini-2.5-pro"},
    "systemInstruction": {"parts": [{"text": "Be short."}]},
    "chunkedPrompt": {
        "chunks": [
            {"text": "Hi", "role": "user", "tokenCount": 1},
            {"text": "They greet me.", "role": "model", "isThought": True},
            {"text": "Hello", "role": "model", "finishReason": "STOP"},
            {"text": "Bye", "role": "user"},
            {"text": "Goodbye", "role": "model"},
        ],
        "pendingInputs": [{"text": "", "role": "user"}],
    },
}
ALPACA = {"system": "Be short.", "instruction": "Bye", "input": "", "output": "Goodbye", "history": [["Hi", "Hello"]]}
EVERY_FORMAT = [MESSAGES, IN_PARTS, BESIDE, PALM, CONTENTS, SNAKE, SHAREGPT, SHAREGPT_BESIDE, STUDIO, ALPACA]


@pytest.mark.parametrize("record", EVERY_FORMAT, ids="-".join)
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("p.jsonl", lambda record: f"{json.dumps(record)}\n{json.dumps(record)}\n"),
        ("p.json", lambda record: json.dumps([record, record], indent=2)),
        ("p.jsonl", lambda record: f"{json.dumps(record, indent=2)}\n{json.dumps(record, indent=2)}"),
        ("p.json", lambda record: json.dumps({"version": 1, "data": {"train": [record, record]}})),
        ("p.txt", lambda record: json.dumps([record, record])),
    ],
    ids=["lines", "list", "pretty", "wrapped", "text"],
)
def test_every_format_gives_system_text_and_all_turns(written, record, name, shape):
    data = training_files.read(written(name, shape(record)))

    assert data.examples == (TWO_TURNS, TWO_TURNS)


@pytest.mark.parametrize("record", EVERY_FORMAT, ids="-".join)
def test_one_conversation_alone_is_a_file_of_one_example(written, record):
    assert training_files.read(written("p.json", json.dumps(record, indent=1))).examples == (TWO_TURNS,)
    assert training_files.read([record]).examples == (TWO_TURNS,)


def test_a_conversation_of_one_question_and_one_answer_is_a_pair(written):
    record = {"messages": MESSAGES["messages"][1:3]}

    assert training_files.read(written("p.jsonl", json.dumps(record))).examples == (Conversation.pair("Hi", "Hello"),)


def test_neighbours_of_one_speaker_become_one_turn_as_in_a_prompt():
    messages = [{"role": "user", "content": "Hi"}, {"role": "user", "content": "there"}, MESSAGES["messages"][2]]

    assert training_files.read([{"messages": messages}]).examples == (Conversation.pair("Hi\nthere", "Hello"),)


def user(text, **more):
    return {"role": "user", "content": text, **more}


def model(text, **more):
    return {"role": "assistant", "content": text, **more}


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([user("a")], "nothing in it is said by the model"),
        ([model("a"), user("b"), model("c")], "it begins with the model's turn"),
        ([user("a"), model("")], "message 2: empty"),
        ([user("a"), model(None)], "message 2: no text"),
        ([user("a"), model("b", weight=0)], "message 2: weight 0"),
        ([user("a"), model(None, tool_calls=[{"id": "1"}])], "message 2: it calls a tool"),
        ([user("a"), {"role": "tool", "content": "x"}, model("b")], "message 2: the role 'tool'"),
        ([user([{"type": "image_url", "image_url": {"url": "x"}}]), model("b")], "message 1: a part with 'image_url'"),
        ([user("a"), model("b"), {"role": "system", "content": "c"}], "message 3: a system text in the middle"),
        ([user("a"), model("\ud83d")], "message 2: '\\\\ud83d' is half a character"),
        ([user("a"), model("\0b")], "message 2: it holds the character U\\+0000"),
        ([user("a"), {"content": "b"}], "message 2: no role"),
        ([user("a"), "b"], "no conversation; the first record is one"),
    ],
)
def test_what_would_be_lost_is_refused_with_its_place(written, messages, problem):
    lines = [json.dumps(MESSAGES), json.dumps({"messages": messages})]

    with pytest.raises(TrainingFileError, match=f"line 2: {problem}|not valid") as caught:
        training_files.read(written("p.jsonl", "\n".join(lines)))

    assert len(caught.value.faults) == 1


def test_every_fault_of_a_file_of_conversations_is_told(written):
    lines = [json.dumps(MESSAGES), '{"messages": [', json.dumps({"prompt": "a"}), json.dumps({"messages": [user("a")]})]

    with pytest.raises(TrainingFileError) as caught:
        training_files.read(written("p.jsonl", "\n".join(lines)))

    assert [fault.place for fault in caught.value.faults] == ["line 2", "line 3", "line 4"]


def test_a_conversation_among_rows_is_told(written):
    with pytest.raises(TrainingFileError, match="line 2: a conversation, and the first record is none"):
        training_files.read(written("p.jsonl", f'{{"prompt": "1", "completion": "2"}}\n{json.dumps(MESSAGES)}'))


def test_conversations_have_no_columns_to_name(written):
    path = written("p.jsonl", json.dumps(MESSAGES))

    with pytest.raises(TrainingFileError, match="which have no columns") as caught:
        training_files.read(path, Columns(inputs=("messages",)))

    assert "Leave out --input-key" in caught.value.advice


@pytest.mark.parametrize(
    "wrapped",
    [
        {"examples": [{"text_input": "1", "output": "2"}]},
        {"tuningTask": {"trainingData": {"examples": {"examples": [{"textInput": "1", "output": "2"}]}}}},
        {"rows": [{"row_idx": 0, "row": {"prompt": "1", "completion": "2"}}], "num_rows_total": 1},
        {"name": "x", "data": [["1", "2"], ["1", "2"]][:1]},
        {"text_input": "1", "output": "2"},
    ],
)
def test_an_object_that_wraps_the_list_is_looked_into(written, wrapped):
    assert training_files.read(written("p.json", json.dumps(wrapped))).examples == (Conversation.pair("1", "2"),)


def test_of_several_lists_in_an_object_none_is_chosen(written):
    record = {"text_input": "1", "output": "2"}

    with pytest.raises(TrainingFileError, match=r"several lists of records: 'data\.train', 'data\.test'"):
        training_files.read(written("p.json", json.dumps({"data": {"train": [record], "test": [record]}})))
