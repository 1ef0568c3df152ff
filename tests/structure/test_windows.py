"""What a client does must work on Windows too, where the suite is not run."""

from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "src" / "tuningfork"


@pytest.mark.parametrize("room", ["client", "cli"])
def test_no_client_renames_where_windows_would_refuse_since_the_name_is_taken(room):
    found = [
        f"{path.name}:{number}"
        for path in sorted((SOURCES / room).rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if ".rename(" in line
    ]

    # `replace` does the same and takes the name of another file on every platform.
    assert found == []
