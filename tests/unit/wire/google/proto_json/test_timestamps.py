"""RFC 3339, both ways."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.wire.google.proto_json.timestamps import format_timestamp, parse_timestamp


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-10-21T21:42:55Z", datetime(2024, 10, 21, 21, 42, 55, tzinfo=UTC)),
        ("2024-10-21T21:42:55.748537Z", datetime(2024, 10, 21, 21, 42, 55, 748537, tzinfo=UTC)),
        ("2024-03-14T15:11:23.766989274Z", datetime(2024, 3, 14, 15, 11, 23, 766989, tzinfo=UTC)),
        ("2024-03-14T15:11:23.7z", datetime(2024, 3, 14, 15, 11, 23, 700000, tzinfo=UTC)),
        ("2024-03-14t15:11:23+02:30", datetime(2024, 3, 14, 12, 41, 23, tzinfo=UTC)),
        ("2024-03-14T15:11:23-01:00", datetime(2024, 3, 14, 16, 11, 23, tzinfo=UTC)),
    ],
)
def test_any_offset_and_up_to_nine_digits_are_read(text, moment):
    assert parse_timestamp(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2024-03-14",
        "2024-03-14T15:11:23",
        "2024-13-14T15:11:23Z",
        "2024-03-14T25:11:23Z",
        "2024-03-14T15:11:23.1234567890Z",
        "2024-03-14T15:11:23+25:00",
        "0001-01-01T00:00:00+01:00",
        "٢٠٢٤-03-14T15:11:23Z",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        parse_timestamp(text)


@pytest.mark.parametrize(
    ("microsecond", "fraction"), [(0, ""), (748000, ".748"), (748537, ".748537"), (7, ".000007"), (1000, ".001")]
)
def test_as_few_digits_are_printed_as_hold_the_value(microsecond, fraction):
    moment = datetime(2024, 10, 21, 21, 42, 55, microsecond, tzinfo=UTC)

    assert format_timestamp(moment) == f"2024-10-21T21:42:55{fraction}Z"


def test_times_are_printed_in_utc():
    moment = datetime(2024, 10, 21, 23, 42, 55, tzinfo=timezone(timedelta(hours=2)))

    assert format_timestamp(moment) == "2024-10-21T21:42:55Z"


def test_a_time_without_zone_names_no_moment():
    with pytest.raises(ValueError, match="no time zone"):
        format_timestamp(datetime(2024, 10, 21))  # noqa: DTZ001


@given(st.datetimes(timezones=st.just(UTC)))
def test_what_is_printed_is_read_back(moment):
    assert parse_timestamp(format_timestamp(moment)) == moment
