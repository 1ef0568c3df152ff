"""Bodies: any content type, packed or in pieces, and never more than the limit."""

import asyncio
import gzip
import json
import zlib

import pytest
from starlette.requests import Request

from caller import TUTORIAL_BODY
from tuningfork.api.body import DRAINED_BYTES, read_body
from tuningfork.domain.errors import InvalidArgument
from tuningfork.wire.google.proto_json.text import MAX_PAYLOAD_BYTES

BODY = json.dumps(TUTORIAL_BODY).encode()


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=x", ""],
)
def test_a_body_is_json_whatever_it_is_called(caller, content_type):
    answer = caller.post("/v1beta/tunedModels", BODY, headers={"content-type": content_type})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("identity", bytes),
        ("GZIP", gzip.compress),
    ],
)
def test_a_packed_body_is_unpacked(caller, encoding, pack):
    answer = caller.post("/v1beta/tunedModels", pack(BODY), headers={"content-encoding": encoding})

    assert answer.status_code == 200


class Sender:
    """The receiving end of ASGI, with a body in pieces; counts those that were taken.

    Some servers say with the last piece that it is the last, others send an empty one behind it.
    """

    def __init__(self, pieces, *, ends_with_empty_piece=True):
        self.pieces = iter(pieces)
        self.taken = 0
        self.last = 0 if ends_with_empty_piece else len(pieces)

    async def __call__(self):
        piece = next(self.pieces, None)
        if piece is None:
            return {"type": "http.request", "body": b"", "more_body": False}
        self.taken += 1
        return {"type": "http.request", "body": piece, "more_body": self.taken != self.last}


def read(sender, headers=()):
    return asyncio.run(read_body(Request({"type": "http", "headers": headers}, sender), MAX_PAYLOAD_BYTES))


def test_a_body_in_pieces_is_put_together():
    assert read(Sender([b"ab", b"", b"c"])) == b"abc"


def test_exactly_the_limit_is_allowed():
    pieces = [b"x" * (MAX_PAYLOAD_BYTES // 8)] * 8

    assert len(read(Sender(pieces))) == MAX_PAYLOAD_BYTES


@pytest.mark.parametrize("headers", [(), [(b"transfer-encoding", b"chunked")], [(b"content-length", b"9999999")]])
def test_one_byte_more_is_refused_with_the_limit_after_the_sender_has_finished(headers):
    pieces = [b"x" * (MAX_PAYLOAD_BYTES // 8)] * 8 + [b"x"] * 5
    sender = Sender(pieces)

    with pytest.raises(InvalidArgument, match=f"exceeds the limit: {MAX_PAYLOAD_BYTES} bytes"):
        read(sender, headers)

    assert sender.taken == len(pieces)


@pytest.mark.parametrize("count", [1, 3])
def test_the_piece_that_crosses_the_limit_may_be_the_last(count):
    sender = Sender([b"x" * (MAX_PAYLOAD_BYTES // count + 1)] * count, ends_with_empty_piece=False)

    with pytest.raises(InvalidArgument, match=r"^Request payload size exceeds the limit: 8388608 bytes\."):
        read(sender)


@pytest.mark.parametrize(("path", "key", "status"), [("/v1beta/tunedModels", "bad", 400), ("/nothing", None, 404)])
def test_a_large_body_that_nobody_wants_is_taken_before_the_answer(caller, path, key, status):
    assert caller.post(path, b" " * (MAX_PAYLOAD_BYTES + 1), key=key).status_code == status


def test_a_sender_without_end_is_cut_off():
    piece = b"x" * 1_000_000

    def forever():
        while True:
            yield piece

    sender = Sender(forever())

    with pytest.raises(InvalidArgument, match="exceeds the limit"):
        read(sender)

    assert sender.taken * len(piece) < DRAINED_BYTES + MAX_PAYLOAD_BYTES + 2 * len(piece)


def test_a_small_body_cannot_unpack_into_a_large_one():
    bomb = gzip.compress(b" " * (20 * MAX_PAYLOAD_BYTES))
    assert len(bomb) < MAX_PAYLOAD_BYTES / 10

    with pytest.raises(InvalidArgument, match="exceeds the limit"):
        read(Sender([bomb]), [(b"content-encoding", b"gzip")])


def test_parsing_a_large_body_leaves_the_event_loop_free(caller):
    example = '{ "text_input": "1", "output": "2", },'
    examples = example * 60_000
    data = f'{{"examples": {{"examples": [{examples}]}}}}'
    body = f'{{"base_model": "models/abc", "tuning_task": {{"training_data": {data}}}}}'

    async def tick(counted):
        while True:
            counted.append(None)
            # Often, since a fast machine parses in little time.
            await asyncio.sleep(0.001)

    async def post_and_tick():
        ticks = []
        ticking = asyncio.ensure_future(tick(ticks))
        answer = await caller.send("POST", "/v1beta/tunedModels", body.encode())
        ticking.cancel()
        return answer, len(ticks)

    answer, ticks = asyncio.run(post_and_tick())

    assert answer.status_code == 404
    assert ticks > 10
