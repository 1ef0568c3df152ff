"""Both forms of a stream, to the byte; and what becomes of faults on the way."""

import asyncio
import json

import httpx
import pytest

from caller import OpenCall, turn
from patience import PATIENCE_SECONDS
from tuningfork.api.google.options import AnswerOptions
from tuningfork.api.google.streaming import stream
from tuningfork.api.mounts import streamed_response
from tuningfork.dialect.gemini.generation import messages_of
from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.generation import Chunk
from tuningfork.domain.references import BaseRef
from tuningfork.execution.base import WorkerDied
from tuningfork.service.answering.generation import Answer, ChunkStream
from tuningfork.wire.gemini.errors import GEMINI_ERRORS

STREAM = "/v1beta/models/echo-001:streamGenerateContent"
ASK = {"contents": [turn("a b")]}


def test_events_are_bare_data_lines_with_one_line_of_json_each(caller):
    answer = caller.post(f"{STREAM}?alt=sse", ASK)

    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.content == (
        b'data: {"candidates":[{"content":{"parts":[{"text":"a "}],"role":"model"},"index":0}],'
        b'"usageMetadata":{"promptTokenCount":2,"candidatesTokenCount":1,"totalTokenCount":3,'
        b'"promptTokensDetails":[{"modality":"TEXT","tokenCount":2}],'
        b'"candidatesTokensDetails":[{"modality":"TEXT","tokenCount":1}]},'
        b'"modelVersion":"echo-001","responseId":"one-answer"}\r\n\r\n'
        b'data: {"candidates":[{"content":{"parts":[{"text":"b"}],"role":"model"},"finishReason":"STOP","index":0}],'
        b'"usageMetadata":{"promptTokenCount":2,"candidatesTokenCount":2,"totalTokenCount":4,'
        b'"promptTokensDetails":[{"modality":"TEXT","tokenCount":2}],'
        b'"candidatesTokensDetails":[{"modality":"TEXT","tokenCount":2}]},'
        b'"modelVersion":"echo-001","responseId":"one-answer"}\r\n\r\n'
    )


@pytest.mark.parametrize("query", ["", "?alt=json", "?%24alt=json%3Benum-encoding%3Dint"])
def test_the_array_is_pretty_and_has_no_byte_behind_its_bracket(caller, query):
    answer = caller.post(f"{STREAM}{query}", ASK)

    assert answer.headers["content-type"] == "application/json; charset=UTF-8"
    assert answer.content.startswith(b'[{\n  "candidates": [\n    {\n')
    assert answer.content.endswith(b"\n}]")
    assert answer.content.count(b"},\r\n{\n") == 1
    first, last = answer.json()
    assert [chunk["candidates"][0]["content"]["parts"][0]["text"] for chunk in (first, last)] == ["a ", "b"]
    assert "finishReason" not in first["candidates"][0]
    assert last["candidates"][0]["finishReason"] == (1 if "int" in query else "STOP")


def test_an_array_can_be_written_without_indentation(caller):
    answer = caller.post(f"{STREAM}?prettyPrint=false", ASK)

    assert answer.content.startswith(b'[{"candidates":[{')
    assert answer.content.count(b"\n") == 1


@pytest.mark.parametrize("text", ["one\u2028two\u2029three\x85four", "a\r\nb\x0bc\x0cd\x1ce", "héllo 七 😀"])
def test_what_people_write_does_not_break_an_event_for_any_reader(caller, text):
    answer = caller.post(f"{STREAM}?alt=sse", {"contents": [turn(text)]})

    lines = [line for line in httpx.Response(200, content=answer.content).iter_lines() if line]
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert "".join(event["candidates"][0]["content"]["parts"][0]["text"] for event in events) == text


@pytest.mark.parametrize("query", ["", "?alt=sse"])
def test_a_fault_before_the_first_chunk_is_a_plain_error_with_its_status(caller, query):
    caller.workshop.executor.close()

    answer = caller.post(f"{STREAM}{query}", ASK)

    assert answer.status_code == 503
    assert answer.json()["error"]["status"] == "UNAVAILABLE"


def test_a_later_fault_is_the_last_event(caller):
    caller.workshop.executor.break_generation(1)

    answer = caller.post(f"{STREAM}?alt=sse", ASK)

    first, last, rest = answer.text.split("\r\n\r\n")
    assert answer.status_code == 200
    assert "candidates" in json.loads(first.removeprefix("data: "))
    assert json.loads(last.removeprefix("data: ")) == {
        "error": {"code": 503, "message": "The generator ended unexpectedly (signal 9).", "status": "UNAVAILABLE"}
    }
    assert rest == ""


def test_a_later_fault_is_the_last_element_and_the_array_is_closed(caller):
    caller.workshop.executor.break_generation(1, ZeroDivisionError("secret"))

    answer = caller.post(STREAM, ASK)

    first, last = answer.json()
    assert "candidates" in first
    assert last["error"]["code"] == 500
    assert "secret" not in answer.text


def test_chunks_are_sent_when_they_are_made(caller):
    gate = caller.workshop.executor.hold_generation(1)
    call = OpenCall.post(caller, STREAM, "alt=sse", ASK)

    async def look_while_it_waits():
        running = asyncio.ensure_future(call.run())
        await asyncio.wait_for(call.begun.wait(), PATIENCE_SECONDS)
        seen = call.received
        gate.open()
        await running
        return seen

    seen = asyncio.run(look_while_it_waits())

    assert seen.count(b"data: ") == 1
    assert seen.endswith(b"\r\n\r\n")
    assert call.received.count(b"data: ") == 2
    assert call.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def no_chunks():
    for chunk in ():
        yield chunk


async def chunk_then_death():
    yield Chunk(candidate=0, text="a", finish_reason=None, prompt_tokens=1, output_tokens=1)
    raise WorkerDied("gone")


def body_of(chunks, **options):
    answer = Answer(id="x", base=BaseRef(BaseModelName("models/echo-001")), chunks=ChunkStream(None, chunks))
    response = streamed_response(stream(messages_of(answer), AnswerOptions(**options), GEMINI_ERRORS))
    sent = []

    async def run():
        async def send(message):
            sent.append(message)

        await response({"type": "http"}, asyncio.Event().wait, send)

    asyncio.run(run())
    return b"".join(message.get("body", b"") for message in sent)


def test_an_empty_stream_is_an_empty_array_or_no_event_at_all():
    assert body_of(no_chunks()) == b"[]"
    assert body_of(no_chunks(), sse=True) == b""


def test_an_array_of_one_chunk_and_a_fault_is_whole():
    assert [*json.loads(body_of(chunk_then_death()))[1]] == ["error"]
