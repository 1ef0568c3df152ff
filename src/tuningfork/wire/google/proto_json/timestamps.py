"""google.protobuf.Timestamp in JSON: RFC 3339 both ways (google/protobuf/timestamp.proto, "JSON Mapping")."""

import re
from datetime import UTC, datetime, timedelta, timezone

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)


def parse_timestamp(text: str) -> datetime:
    """The time in UTC, cut to microseconds, the precision of datetime.

    Raises:
        ValueError: the text is not RFC 3339, or the time is outside the years 1 to 9999.

    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("timestamps are RFC 3339: 2024-10-21T21:42:55.748537Z, or with an offset such as +02:00")
    year, month, day, hour, minute, second, fraction, sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    zone = timezone(-offset if sign == "-" else offset)
    microseconds = int((fraction or "").ljust(9, "0")[:6])
    try:
        local = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), microseconds, zone)
        return local.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("timestamps lie in the years 1 to 9999") from error


def format_timestamp(moment: datetime) -> str:
    """The time in UTC with `Z` and 0, 3 or 6 fraction digits, as few as the value needs.

    Raises:
        ValueError: the datetime has no time zone.

    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone; times in this service are aware and in UTC")
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    # Without a fraction, if there are no microseconds; else with six digits.
    text = utc.isoformat()[:-6]
    return f"{text[:-3]}Z" if text[-3:] == "000" else f"{text}Z"
