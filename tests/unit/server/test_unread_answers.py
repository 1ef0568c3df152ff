"""What a client has read of its answer is counted, whatever is written meanwhile and whatever the system keeps."""

import asyncio
import socket

import pytest

from tuningfork.server.unread_answers import CountedTransport, Unread, queued_bytes


@pytest.fixture
def unread():
    """An answer of which 1,000 bytes wait in the process and 500 in the system, since second 0."""
    unread = Unread(bytes_per_second=1_000)
    unread.look(1_000, lambda: 500, 1_500, 0.0)
    return unread


def test_what_is_read_while_as_much_is_written_counts(unread):
    unread.look(1_000, lambda: 500, 4_500, 4.0)
    assert (unread.taken, unread.waiting_since) == (3_000, 3.0)


def test_bytes_that_were_taken_quickly_earn_no_time_for_later(unread):
    unread.look(1_000, lambda: 500, 60_000, 1.0)
    assert (unread.taken, unread.waiting_since) == (58_500, 1.0)
    unread.look(1_000, lambda: 500, 60_000, 31.0)
    assert unread.waiting_since == 1.0


def test_for_a_client_that_takes_the_least_rate_the_server_does_not_wait(unread):
    for second in range(1, 100):
        unread.look(1_000, lambda: 500, 1_500 + 1_000 * second, float(second))
        assert unread.waiting_since == second


def test_what_the_system_accepts_does_not_count(unread):
    unread.look(100, lambda: 1_400, 1_500, 1.0)
    assert unread.taken == 0
    unread.look(100, lambda: 400, 1_500, 2.0)
    assert unread.taken == 1_000


def test_the_counting_begins_anew_once_nothing_waits(unread):
    unread.look(0, lambda: 500, 1_500, 1.0)
    unread.look(10, lambda: 700, 3_000, 5.0)
    assert (unread.size, unread.waiting_since, unread.taken) == (10, 5.0, 0)


def test_a_client_that_reads_nothing_has_taken_nothing_however_much_is_written():
    """Over a real connection, whose system takes megabytes before anybody reads."""

    async def scenario():
        unread = Unread(bytes_per_second=1_000)
        left = asyncio.Event()

        async def answer(_, writer):
            counted = CountedTransport(writer.transport)
            for second in range(20):
                counted.write(b"x" * 500_000)
                await asyncio.sleep(0.01)
                unread.look(
                    counted.get_write_buffer_size(), lambda: queued_bytes(writer.transport), counted.written, second
                )
            writer.transport.abort()
            left.set()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        # A small buffer at the client, so that little is confirmed without being read.
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, server.sockets[0].getsockname())
        await left.wait()
        client.close()
        server.close()
        await server.wait_closed()
        return unread

    unread = asyncio.run(scenario())
    assert unread.size > 0
    assert unread.taken < 100_000
