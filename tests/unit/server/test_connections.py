"""Connections to a real HTTP server whose clients are slow, idle, too many, or still there when it stops."""

import asyncio
import json
import time
from contextlib import asynccontextmanager, suppress

import pytest
from prometheus_client import CollectorRegistry

from caller import caller_of, turn
from patience import PATIENCE_SECONDS
from tuningfork.api.mounts import Mounts
from tuningfork.api.overload import Refusing, unreadable_answer
from tuningfork.server.connections import ConnectionLimits, OpenConnections
from tuningfork.server.ports import HttpServer, listen

HEALTH = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
HALF_A_HEAD = HEALTH[:30]
ENDLESS = 2 * PATIENCE_SECONDS
"""The limits that a test is not about."""
SOON = 30
"""A fraction of that, since a busy machine is late."""
_writers = []
WITHOUT_LIMIT = 60_000
"""Bytes of a body that earn a client more time than any machine stands still."""
ASK = {"contents": [turn("a b c")]}


class Watch:
    """A clock that stands still until the test moves it."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@asynccontextmanager
async def serving(
    caller,
    *,
    most=100,
    head=ENDLESS,
    answer=ENDLESS,
    idle=ENDLESS,
    room=0.01,
    grace=0.3,
    app=None,
    clock=time.monotonic,
):
    """The port of a server with these limits, and the server itself."""
    mounts = Mounts(caller.services.dialects, default_form=caller.services.default_form)
    connections = OpenConnections(
        ConnectionLimits(most=most, head_seconds=head, answer_seconds=answer, idle_seconds=idle, room_seconds=room),
        Refusing(mounts),
        lambda: unreadable_answer(mounts),
        CollectorRegistry(),
        clock,
    )
    with listen("127.0.0.1", 0) as listener:
        server = HttpServer(app or caller.app, connections, caller.services.stopping, grace_seconds=grace)
        running = asyncio.ensure_future(server.serve(sockets=[listener]))
        await until(lambda: server.started)
        try:
            yield listener.getsockname()[1], server
        finally:
            server.should_exit = True
            await running
            while _writers:
                _writers.pop().close()


async def connect(port, sent=b""):
    """A connection on which these bytes were sent; it is closed with the server."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**16)
    _writers.append(writer)
    writer.write(sent)
    return reader, writer


async def connect_without_reading(port):
    """A connection that asks for an answer and reads none of it."""
    reader, writer = await connect(port)
    writer.transport.pause_reading()
    writer.write(HEALTH.replace(b"/healthz", b"/large"))
    return reader, writer


async def large(_scope, _receive, send):
    """Answers with more than the buffers of the two systems hold."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(1_000):
        await send({"type": "http.response.body", "body": bytes(2**16), "more_body": True})


async def answer_on(reader):
    """Status, headers and JSON of the next answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    lines = head.split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    body = await reader.readexactly(int(headers["content-length"]))
    return int(lines[0].split()[1]), headers, json.loads(body)


def ask_bytes(caller, path="/v1beta/models/echo-001:generateContent", *, length=None, query=""):
    body = json.dumps(ASK).encode()
    head = (
        f"POST {path}?{query} HTTP/1.1\r\nhost: localhost\r\nx-goog-api-key: {caller.key}\r\n"
        f"content-length: {length or len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def until(condition, *, seconds=PATIENCE_SECONDS):
    """Wait until the condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the server tells of no event
            await asyncio.sleep(0.02)


async def seconds_until_closed(reader, began):
    """How long after `began`, a time before the server began to wait."""
    while await asyncio.wait_for(reader.read(2**16), PATIENCE_SECONDS):
        pass
    return time.monotonic() - began


@pytest.mark.parametrize("sent", [b"", HALF_A_HEAD], ids=["silent", "half a head"])
def test_a_client_that_never_sends_a_whole_head_is_cut_off(caller, sent):
    async def scenario():
        async with serving(caller, head=0.5) as (port, _):
            began = time.monotonic()
            reader, _writer = await connect(port, sent)
            return await seconds_until_closed(reader, began)

    assert 0.4 < asyncio.run(scenario()) < SOON


def test_a_head_that_drips_is_cut_off_as_well(caller):
    async def scenario():
        async with serving(caller, head=0.5) as (port, _):
            reader, writer = await connect(port, HEALTH)
            await answer_on(reader)
            began = time.monotonic()
            closed = asyncio.ensure_future(reader.read())
            for letter in HALF_A_HEAD:
                if closed.done():
                    break
                writer.write(bytes([letter]))
                await asyncio.sleep(0.1)
            # A letter that comes after the end is answered by a reset.
            with suppress(ConnectionResetError):
                await asyncio.wait_for(closed, PATIENCE_SECONDS)
            return time.monotonic() - began

    assert 0.4 < asyncio.run(scenario()) < SOON


def test_a_connection_without_a_request_is_kept_for_a_while_only(caller):
    watch = Watch()

    async def scenario():
        async with serving(caller, clock=watch) as (port, server):
            reader, writer = await connect(port)
            statuses = []
            for _ in range(3):
                writer.write(HEALTH)
                statuses.append((await answer_on(reader))[0])
                # Each request begins the time anew.
                watch.now += 0.9 * ENDLESS
                server._connections.close_overdue()
            watch.now += 0.2 * ENDLESS
            return statuses, await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)

    assert asyncio.run(scenario()) == ([200] * 3, b"")


def test_a_body_that_does_not_come_is_answered_408(workshop):
    caller = caller_of(workshop, body_seconds=0.4)

    async def scenario():
        async with serving(caller) as (port, _):
            reader, _writer = await connect(port, ask_bytes(caller, length=10_000))
            answer = await asyncio.wait_for(answer_on(reader), PATIENCE_SECONDS)
            assert await asyncio.wait_for(reader.read(), PATIENCE_SECONDS) == b""
            return answer

    status, _, body = asyncio.run(scenario())

    assert status == 408
    assert (body["error"]["code"], body["error"]["status"]) == (408, "DEADLINE_EXCEEDED")
    assert "TUNINGFORK_REQUEST_BODY_SECONDS" in body["error"]["message"]


def test_a_large_body_that_comes_fast_enough_may_take_longer_than_the_limit(workshop):
    caller = caller_of(workshop, body_seconds=1.0)
    said = "x" * (WITHOUT_LIMIT + 5_000)
    body = json.dumps({"contents": [turn("a b c"), turn(said, "model"), turn("d")]}).encode()

    async def scenario():
        async with serving(caller) as (port, _):
            head, _, _ = ask_bytes(caller, length=len(body)).partition(b"\r\n\r\n")
            reader, writer = await connect(port, head + b"\r\n\r\n" + body[:WITHOUT_LIMIT])
            for start in range(WITHOUT_LIMIT, len(body), 500):
                await asyncio.sleep(0.15)
                writer.write(body[start : start + 500])
            return await asyncio.wait_for(answer_on(reader), PATIENCE_SECONDS)

    assert asyncio.run(scenario())[0] == 200


def test_a_client_that_leaves_its_answers_unread_is_cut_off(caller):
    async def scenario():
        async with serving(caller, answer=0.5, app=large) as (port, server):
            _reader, writer = await connect_without_reading(port)
            await until(lambda: server.server_state.connections)
            began = time.monotonic()
            await until(lambda: not server.server_state.connections)
            writer.close()
            return time.monotonic() - began

    assert asyncio.run(scenario()) < SOON


def test_at_the_limit_the_connection_that_idled_longest_makes_room(caller):
    async def scenario():
        async with serving(caller, most=4) as (port, _):
            idle = []
            for _ in range(4):
                idle.append(await connect(port, HEALTH))
                await answer_on(idle[-1][0])
            reader, _writer = await connect(port, HEALTH)
            status, *_ = await answer_on(reader)
            oldest = await asyncio.wait_for(idle[0][0].read(), SOON)
            idle[3][1].write(HEALTH)
            return status, oldest, (await answer_on(idle[3][0]))[0]

    assert asyncio.run(scenario()) == (200, b"", 200)


def test_a_request_that_comes_just_after_a_burst_of_half_bodies_is_answered(caller):
    half_a_body = ask_bytes(caller, length=1000)

    async def scenario():
        async with serving(caller, most=4, room=ENDLESS) as (port, server):
            for _ in range(4):
                await connect(port, half_a_body)
            await until(lambda: len(server.server_state.tasks) == 4)
            reader, _writer = await connect(port, HEALTH)
            return (await answer_on(reader))[0]

    assert asyncio.run(scenario()) == 200


def test_a_request_beyond_the_limit_is_answered_when_another_one_ends(caller):
    gate = caller.workshop.executor.hold_generation(1)

    async def scenario():
        async with serving(caller, most=1, room=ENDLESS) as (port, server):
            busy, _ = await connect(port, ask_bytes(caller))
            await asyncio.to_thread(gate.wait_until_reached)
            reader, writer = await connect(port, HEALTH)
            await until(lambda: len(server.server_state.tasks) == 2)
            gate.open()
            statuses = [(await answer_on(each))[0] for each in (busy, reader)]
            # The connection is an ordinary one from now on.
            writer.write(HEALTH)
            return [*statuses, (await answer_on(reader))[0]]

    assert asyncio.run(scenario()) == [200, 200, 200]


def test_half_a_body_beyond_the_limit_does_not_wait_for_room(caller):
    gate = caller.workshop.executor.hold_generation(1)

    async def scenario():
        async with serving(caller, most=1, room=ENDLESS) as (port, _):
            await connect(port, ask_bytes(caller))
            await asyncio.to_thread(gate.wait_until_reached)
            reader, _writer = await connect(port, ask_bytes(caller, length=1000))
            refused = await answer_on(reader)
            gate.open()
            return refused[0]

    assert asyncio.run(scenario()) == 503


def test_where_all_connections_are_at_work_one_more_is_answered_503(caller):
    gate = caller.workshop.executor.hold_generation(1)

    async def scenario():
        async with serving(caller, most=1) as (port, _):
            busy, _ = await connect(port, ask_bytes(caller))
            await asyncio.to_thread(gate.wait_until_reached)
            reader, _writer = await connect(port, HEALTH)
            refused = await asyncio.wait_for(answer_on(reader), PATIENCE_SECONDS)
            gate.open()
            return refused, await asyncio.wait_for(answer_on(busy), PATIENCE_SECONDS)

    (status, headers, body), (busy_status, *_) = asyncio.run(scenario())

    assert (status, headers["connection"], headers["retry-after"]) == (503, "close", "1")
    assert (body["error"]["code"], body["error"]["status"]) == (503, "UNAVAILABLE")
    assert busy_status == 200


def test_a_request_that_was_sent_together_with_the_one_before_is_at_work(caller):
    gate = caller.workshop.executor.hold_generation(1)

    async def scenario():
        async with serving(caller, most=1) as (port, _):
            busy, _ = await connect(port, HEALTH + ask_bytes(caller))
            await answer_on(busy)
            await asyncio.to_thread(gate.wait_until_reached)
            reader, _writer = await connect(port, HEALTH)
            refused = await asyncio.wait_for(answer_on(reader), PATIENCE_SECONDS)
            gate.open()
            return refused[0], (await asyncio.wait_for(answer_on(busy), PATIENCE_SECONDS))[0]

    assert asyncio.run(scenario()) == (503, 200)


def test_a_head_of_which_half_was_sent_together_with_the_request_before_is_owed(caller):
    async def scenario():
        async with serving(caller, head=0.5) as (port, _):
            began = time.monotonic()
            reader, _writer = await connect(port, HEALTH + HALF_A_HEAD)
            await answer_on(reader)
            return await seconds_until_closed(reader, began)

    assert 0.4 < asyncio.run(scenario()) < SOON


def test_a_client_that_may_not_send_its_body_yet_is_not_slow(caller):
    asked, reading = asyncio.Event(), asyncio.Event()

    async def patient(scope, receive, send):
        """Reads the body of a POST request only when the test says so."""
        if scope.get("method") == "POST":
            asked.set()
            await reading.wait()
        await caller.app(scope, receive, send)

    async def scenario():
        async with serving(caller, most=1, app=patient) as (port, _):
            head, _, body = ask_bytes(caller).partition(b"\r\n\r\n")
            waiting, writer = await connect(port, head + b"\r\nexpect: 100-continue\r\n\r\n")
            await asyncio.wait_for(asked.wait(), PATIENCE_SECONDS)
            reader, _writer = await connect(port, HEALTH)
            refused = await asyncio.wait_for(answer_on(reader), PATIENCE_SECONDS)
            reading.set()
            go_on = await asyncio.wait_for(waiting.readuntil(b"\r\n\r\n"), PATIENCE_SECONDS)
            writer.write(body)
            return refused[0], go_on[:12], (await asyncio.wait_for(answer_on(waiting), PATIENCE_SECONDS))[0]

    assert asyncio.run(scenario()) == (503, b"HTTP/1.1 100", 200)


def test_what_is_not_http_is_answered_in_the_one_error_shape(caller):
    async def scenario():
        async with serving(caller) as (port, _):
            reader, _writer = await connect(port, b"this is not http\r\n\r\n")
            return await asyncio.wait_for(answer_on(reader), PATIENCE_SECONDS)

    status, headers, body = asyncio.run(scenario())

    assert (status, headers["content-type"]) == (400, "application/json; charset=UTF-8")
    assert body["error"]["status"] == "INVALID_ARGUMENT"


def test_chunks_that_are_malformed_in_the_middle_of_a_body_are_answered_once(caller, caplog):
    async def scenario():
        async with serving(caller) as (port, _):
            head = ask_bytes(caller).partition(b"content-length")[0] + b"transfer-encoding: chunked\r\n\r\n"
            reader, writer = await connect(port, head + b"3\r\n{  \r\n")
            await asyncio.sleep(0.2)
            writer.write(b"no chunk\r\n")
            answer = await asyncio.wait_for(answer_on(reader), PATIENCE_SECONDS)
            return answer, await reader.read()

    (status, _, body), rest = asyncio.run(scenario())

    assert (status, body["error"]["code"], rest) == (400, 400, b"")
    assert not [record for record in caplog.records if record.exc_info]


def test_a_request_that_is_open_when_the_server_stops_ends_with_503(caller, caplog):
    gate = caller.workshop.executor.hold_generation(1)

    async def scenario():
        async with serving(caller) as (port, server):
            reader, _writer = await connect(port, ask_bytes(caller))
            await asyncio.to_thread(gate.wait_until_reached)
            half, _half_writer = await connect(port, ask_bytes(caller, length=10_000))
            await until(lambda: len(server.server_state.tasks) == 2)
            server.should_exit = True
            answers = [await asyncio.wait_for(answer_on(each), PATIENCE_SECONDS) for each in (reader, half)]
            return answers, await reader.read()

    answers, rest = asyncio.run(scenario())

    for status, headers, body in answers:
        assert (status, headers["retry-after"]) == (503, "5")
        assert body["error"]["code"] == 503
        assert body["error"]["status"] == "UNAVAILABLE"
        assert "The server is stopping" in body["error"]["message"]
    assert rest == b""
    assert caller.workshop.executor.abandoned_generations == 1
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(("query", "end"), [("alt=sse", b"\r\n\r\n"), ("", b"]")])
def test_a_stream_that_is_open_when_the_server_stops_ends_with_an_error_event(caller, query, end, caplog):
    gate = caller.workshop.executor.hold_generation(1)

    async def scenario():
        async with serving(caller) as (port, server):
            path = "/v1beta/models/echo-001:streamGenerateContent"
            reader, _writer = await connect(port, ask_bytes(caller, path, query=query))
            await asyncio.to_thread(gate.wait_until_reached)
            server.should_exit = True
            return await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)

    received = asyncio.run(scenario())

    assert received.startswith(b"HTTP/1.1 200 OK")
    assert received.count(b'candidates"') == 1
    error = received.rpartition(b'"error"')[2]
    assert b"The server is stopping" in error
    assert b"UNAVAILABLE" in error
    # The last chunk of the transfer is empty: the answer is whole.
    assert received.endswith(end + b"\r\n0\r\n\r\n")
    assert not [record for record in caplog.records if record.exc_info]


def test_the_server_stops_in_time_whatever_its_clients_do(caller):
    async def app(scope, receive, send):
        await (large if scope.get("path") == "/large" else caller.app)(scope, receive, send)

    async def scenario():
        async with serving(caller, app=app) as (port, server):
            clients = [await connect(port, sent) for sent in (b"", HALF_A_HEAD, ask_bytes(caller, length=10_000))]
            unread = await connect_without_reading(port)
            await asyncio.sleep(0.5)
            began = time.monotonic()
            server.should_exit = True
            await until(lambda: not server.server_state.connections)
            seconds = time.monotonic() - began
            for _, writer in (*clients, unread):
                writer.close()
            return seconds

    # The grace of 0.3 seconds, and one for the last words.
    assert asyncio.run(scenario()) < SOON
