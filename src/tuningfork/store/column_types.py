"""Types of columns: what a database keeps otherwise than Python has it."""

from datetime import UTC, datetime

from sqlalchemy import DateTime, Dialect, String, TypeDecorator


def in_utc(stored: datetime) -> datetime:
    """A time as a database gives it, as an aware time in UTC: SQLite gives naive times, which are in UTC."""
    return stored.replace(tzinfo=UTC) if stored.tzinfo is None else stored.astimezone(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """A timezone-aware time in UTC with microseconds.

    SQLite does not store the zone, so it is removed and added here.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC; a naive time is a bug."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"times are stored aware; {value!r} is naive")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Mark the time as UTC."""
        return None if value is None else in_utc(value)


class Id(TypeDecorator[str]):
    """A name or id that callers send.

    PostgreSQL refuses texts with U+0000, even in a search. Such a text is replaced by "", which no row has, so that
    nothing is found.
    """

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Return a printable text unchanged, and "" for any other: ids are always printable."""
        return value if value is None or value.isprintable() else ""
