"""Callers that leave: the generator is told at once, whatever the server was doing for them."""

import asyncio

import pytest

from caller import OpenCall, turn
from patience import PATIENCE_SECONDS
from tuningfork.api.disconnects import while_connected
from tuningfork.domain.errors import Cancelled

BASE = "/v1beta/models/echo-001"
ASK = {"contents": [turn("a b c")]}


def leave_at(caller, call, chunk):
    """Run the call, and leave while the generator is at this chunk."""
    gate = caller.workshop.executor.hold_generation(chunk)

    async def run_and_leave():
        running = asyncio.ensure_future(call.run())
        await asyncio.to_thread(gate.wait_until_reached)
        call.leave()
        await asyncio.wait_for(running, PATIENCE_SECONDS)

    asyncio.run(run_and_leave())


@pytest.mark.parametrize("query", ["", "alt=sse"])
def test_leaving_in_the_middle_of_a_stream_ends_the_generation(caller, query):
    call = OpenCall.post(caller, f"{BASE}:streamGenerateContent", query, ASK)

    leave_at(caller, call, 1)

    assert caller.workshop.executor.abandoned_generations == 1
    assert call.received.count(b'candidates"') == 1
    assert call.sent[-1].get("more_body"), "nothing pretends that the answer is complete"


@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent"])
def test_leaving_before_the_first_chunk_ends_the_generation(caller, method):
    call = OpenCall.post(caller, f"{BASE}:{method}", "", ASK)

    leave_at(caller, call, 0)

    assert caller.workshop.executor.abandoned_generations == 1


def test_leaving_while_an_answer_is_collected_ends_the_generation(caller):
    call = OpenCall.post(caller, f"{BASE}:generateContent", "", ASK)

    leave_at(caller, call, 2)

    assert caller.workshop.executor.abandoned_generations == 1


def test_leaving_while_a_slow_connection_takes_a_chunk_ends_the_generation(caller):
    call = OpenCall.post(caller, f"{BASE}:streamGenerateContent", "alt=sse", ASK)
    full = asyncio.Event()

    async def send_slowly(message):
        call.sent.append(message)
        if message["type"] == "http.response.body":
            full.set()
            await asyncio.Event().wait()

    async def run_and_leave():
        running = asyncio.ensure_future(call.app(call.scope, call._receive, send_slowly))
        await asyncio.wait_for(full.wait(), PATIENCE_SECONDS)
        call.leave()
        await asyncio.wait_for(running, PATIENCE_SECONDS)

    asyncio.run(run_and_leave())

    assert caller.workshop.executor.abandoned_generations == 1


def test_a_generation_that_was_heard_to_its_end_is_not_abandoned(caller):
    assert caller.post(f"{BASE}:generateContent", ASK).status_code == 200
    assert caller.post(f"{BASE}:streamGenerateContent", ASK).status_code == 200

    assert caller.workshop.executor.abandoned_generations == 0


def test_leaving_while_the_body_is_sent_is_no_fault_of_ours(caller, caplog):
    call = OpenCall.post(caller, "/v1beta/tunedModels", "", {})

    async def leave_at_once():
        return {"type": "http.disconnect"}

    asyncio.run(call.app(call.scope, leave_at_once, call._send))

    assert call.sent == []
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_work_is_cancelled_when_the_client_leaves_and_its_cleaning_up_is_waited_for():
    steps = []

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    async def receive():
        return {"type": "http.disconnect"}

    async def run():
        with pytest.raises(Cancelled):
            await while_connected(receive, work())
        steps.append("told")

    asyncio.run(run())

    assert steps == ["cleaned up", "told"]
