"""What tests and benchmarks take over from the environment of whoever runs them: nothing that leads to real data."""

import os
from collections.abc import Mapping

_OF_TOOLS = ("TUNINGFORK_TEST_", "TUNINGFORK_BENCH_")
_OF_TERMINALS = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
"""With these rich takes every stream for a terminal."""


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables without those that set options and settings, such as the URL of a real database."""
    return {name: value for name, value in environment.items() if not _is_setting(name.upper())}


def forget_settings() -> None:
    """Remove these variables from this process, and so from those that it starts."""
    for name in os.environ.keys() - without_settings(os.environ).keys():
        del os.environ[name]


def _is_setting(name: str) -> bool:
    return (name.startswith("TUNINGFORK_") and not name.startswith(_OF_TOOLS)) or name in _OF_TERMINALS
