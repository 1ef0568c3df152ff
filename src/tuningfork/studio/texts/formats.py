"""Numbers, times and lists as a language writes them, by the Unicode consortium's data in Babel."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from babel import Locale
from babel.dates import format_datetime, format_timedelta
from babel.lists import format_list
from babel.numbers import format_decimal, format_percent
from babel.units import format_unit

_BYTES = ("byte", "kilobyte", "megabyte", "gigabyte", "terabyte")


@dataclass(frozen=True)
class Formats:
    """How one language writes values."""

    locale: Locale

    @staticmethod
    @lru_cache
    def of(language: str) -> "Formats":
        """Those of a language."""
        return Formats(Locale.parse(language))

    def number(self, value: float, digits: int = 0) -> str:
        """A number with at most so many digits after the point."""
        return format_decimal(round(value, digits), "#,##0." + "#" * digits, locale=self.locale)

    def loss(self, value: float) -> str:
        """A loss with three significant digits. One that is not finite is written as in programs."""
        if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"
        digits = 3 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
        return format_decimal(round(value, digits), "0." + "0" * min(digits, 12), locale=self.locale)

    def setting(self, value: float) -> str:
        """A number of someone's choice, with all its digits."""
        return format_decimal(value, "0.############", locale=self.locale)

    def percent(self, share: float) -> str:
        """A share as whole percents. Nothing is rounded up to the whole."""
        return format_percent(math.floor(share * 100 + 1e-9) / 100, locale=self.locale)

    def duration(self, seconds: float) -> str:
        """A time that something takes: tenths of seconds below ten, else the two largest units."""
        if seconds < 10:
            return format_unit(round(seconds, 1), "second", length="long", format="0.#", locale=self.locale)
        if seconds < 60:
            return format_unit(round(seconds), "second", length="long", locale=self.locale)
        minutes = round(seconds / 60)
        if minutes < 60:
            return format_unit(minutes, "minute", length="long", locale=self.locale)
        hours, left = divmod(minutes, 60)
        parts = [format_unit(hours, "hour", length="long", locale=self.locale)]
        if left and hours < 10:
            parts.append(format_unit(left, "minute", length="long", locale=self.locale))
        return " ".join(parts)

    def ago(self, then: datetime, now: datetime) -> str:
        """How long ago it was, in words."""
        passed = min(then - now, timedelta(0))
        return format_timedelta(passed, add_direction=True, threshold=1.2, locale=self.locale)

    def moment(self, then: datetime) -> str:
        """A date and a time, in UTC. Scripts write it in the browser's own time zone."""
        return f"{format_datetime(then.astimezone(UTC), 'medium', locale=self.locale)} UTC"

    def items(self, words: Sequence[str]) -> str:
        """A list in a sentence."""
        return format_list(list(words), locale=self.locale)

    def size(self, count: float) -> str:
        """A number of bytes in the largest unit that is not below one."""
        power = min(len(_BYTES) - 1, max(0, int(math.log(max(count, 1), 1000))))
        return format_unit(
            round(count / 1000**power, 1), _BYTES[power], length="short", format="0.#", locale=self.locale
        )


def parse_time(text: str) -> datetime:
    """A time of the API (RFC 3339)."""
    return datetime.fromisoformat(text)
