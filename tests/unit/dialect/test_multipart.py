"""Multipart bodies, however they are cut into pieces."""

import asyncio

import pytest

from tuningfork.dialect.multipart import MOST_PARTS, Multipart
from tuningfork.domain.errors import InvalidArgument

BODY = (
    b"--b\r\nContent-Type: application/json\r\n\r\n"
    b'{"displayName": "x"}\r\n'
    b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.bin"\r\nContent-Type: text/plain\r\n\r\n'
    b"one\r\n--bone\r\ntwo\r\n"
    b"--b--\r\n"
)


class Body:
    """A body in pieces of one size."""

    length = None

    def __init__(self, body, size, content_type="multipart/related; boundary=b"):
        self.content_type = content_type
        self._pieces = iter([body[start : start + size] for start in range(0, len(body), size)])

    def __aiter__(self):
        return self

    async def __anext__(self):
        piece = next(self._pieces, None)
        if piece is None:
            raise StopAsyncIteration
        return piece


def parts_of(body):
    async def run():
        return [
            (part.name, part.filename, part.content_type, b"".join([piece async for piece in part]))
            async for part in Multipart(body)
        ]

    return asyncio.run(run())


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 1_000])
def test_parts_are_the_same_however_the_body_is_cut(size):
    assert parts_of(Body(BODY, size)) == [
        (None, None, "application/json", b'{"displayName": "x"}'),
        ("file", "a.bin", "text/plain", b"one\r\n--bone\r\ntwo"),
    ]


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_a_part_that_nobody_reads_is_passed_over(size):
    async def run():
        return [part.name async for part in Multipart(Body(BODY, size))]

    assert asyncio.run(run()) == [None, "file"]


def test_a_field_is_read_as_text_up_to_a_limit():
    async def run(most_bytes):
        return await (await anext(Multipart(Body(BODY, 5)))).text(most_bytes)

    assert asyncio.run(run(100)) == '{"displayName": "x"}'
    with pytest.raises(InvalidArgument, match="has more than 10 bytes"):
        asyncio.run(run(10))


def test_a_field_that_is_no_text_is_refused():
    async def run():
        return await (await anext(Multipart(Body(b"--b\r\n\r\n\xff\r\n--b--\r\n", 100)))).text()

    with pytest.raises(InvalidArgument, match="is not UTF-8"):
        asyncio.run(run())


def test_parts_without_number_are_refused():
    with pytest.raises(InvalidArgument, match=f"more than {MOST_PARTS} parts"):
        parts_of(Body(b"--b\r\n\r\n\r\n" * (MOST_PARTS + 1) + b"--b--\r\n", 1_000))


def test_headers_without_end_are_refused():
    with pytest.raises(InvalidArgument, match="The multipart body is malformed: Maximum header"):
        parts_of(Body(b"--b\r\n" + b"x: " + b"y" * 1_000_000, 1_000))


@pytest.mark.parametrize("content_type", ["", "text/plain; boundary=b", "multipart/form-data", "multipart/form-data;"])
def test_a_body_without_a_boundary_is_refused(content_type):
    with pytest.raises(InvalidArgument, match="must be multipart"):
        parts_of(Body(BODY, 100, content_type))
