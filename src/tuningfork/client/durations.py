"""How long something takes, for people."""

_LEAST_SECONDS = 0.1
_MINUTE = 60.0
_HOUR = 3_600.0


def duration(seconds: float) -> str:
    """The seconds as people say them, in two digits or three: seconds, minutes or hours."""
    if seconds < _LEAST_SECONDS:
        return f"{_LEAST_SECONDS} s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 1.5 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 1.5 * _HOUR:
        return f"{seconds / _MINUTE:.{1 if seconds < 10 * _MINUTE else 0}f} min"
    return f"{seconds / _HOUR:.1f} h"
