"""Where bytes of uploads belong, and which ones of a download are wanted."""

import pytest

from tuningfork.buckets.errors import RangeNotSatisfiable
from tuningfork.domain.errors import InvalidArgument
from tuningfork.wire.storage.ranges import ContentRange, Range, parse_content_range, parse_range


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("bytes 0-99/100", ContentRange(start=0, end=99, size=100)),
        ("bytes 5-9/*", ContentRange(start=5, end=9, size=None)),
        ("bytes 0-*/*", ContentRange(start=0, end=None, size=None)),
        ("bytes 7-*/10", ContentRange(start=7, end=None, size=10)),
        ("bytes */10", ContentRange(start=None, end=None, size=10)),
        ("bytes */*", ContentRange(start=None, end=None, size=None)),
    ],
)
def test_a_body_says_where_its_bytes_belong(text, where):
    assert parse_content_range(text) == where


@pytest.mark.parametrize(
    "text", ["", "bytes", "0-1/2", "bytes 1/2", "bytes 2-1/3", "bytes 0-2/2", "bytes 0-1", "bytes \u0663-\u0664/\u0665"]
)
def test_what_says_no_place_is_refused(text):
    with pytest.raises(InvalidArgument, match="Content-Range"):
        parse_content_range(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("bytes=0-0", Range(first=0, last=0)),
        ("bytes=3-", Range(first=3, last=9)),
        ("bytes=-4", Range(first=6, last=9)),
        ("bytes=3-100", Range(first=3, last=9)),
        ("bytes=-", None),
        ("bytes=5-3", None),
        ("items=0-1", None),
    ],
)
def test_a_range_is_within_the_object_or_none(text, wanted):
    assert parse_range(text, 10) == wanted


@pytest.mark.parametrize(("text", "size"), [("bytes=10-", 10), ("bytes=0-", 0), ("bytes=-1", 0), ("bytes=-0", 10)])
def test_what_begins_after_the_end_is_not_satisfiable(text, size):
    with pytest.raises(RangeNotSatisfiable):
        parse_range(text, size)
