"""No vendor's word below `wire` and `dialect`: code, docstrings and comments of the lower rooms are neutral."""

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "tuningfork"
ROOMS = (
    *("domain", "store", "service", "execution", "training", "inference", "modeling"),
    *("classification", "embedded", "safety"),
)
VENDORS = re.compile(
    r"google|gemini|vertex(?!s)|\bopenai\b|\bpalm\b|generativelanguage|googleapis|v1beta|tunedModels|tuningJobs"
    r"|generateContent|generateText|countTokens|ListTuned|CreateTuned|aiplatform",
    re.IGNORECASE,
)
ALLOWED = {
    # A comment on the two names that published models have for one role of a conversation.
    "embedded/recipe/export.py": {"gemini"},
}
"""Words that may stand in a file, each with its reason."""


def foreign_words(path):
    """Every vendor's word in a file, with its line."""
    name = path.relative_to(PACKAGE).as_posix()
    allowed = ALLOWED.get(name, set())
    return [
        f"{name}:{number}: {found[0]}"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        for found in VENDORS.finditer(line)
        if found[0].lower() not in allowed
    ]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_below_the_dialects_names_no_vendor(room):
    assert [word for path in sorted((PACKAGE / room).rglob("*.py")) for word in foreign_words(path)] == []


def test_every_exception_is_still_needed():
    unused = {
        name: words - {found[0].lower() for found in VENDORS.finditer((PACKAGE / name).read_text(encoding="utf-8"))}
        for name, words in ALLOWED.items()
    }

    assert {name: words for name, words in unused.items() if words} == {}


@pytest.mark.parametrize("line", ['"tunedModels/x"', "# as the Gemini API does", "from google.rpc import code_pb2"])
def test_such_words_are_found(line):
    assert VENDORS.search(line)


def test_what_dialects_of_google_share_knows_none_of_them():
    shared = sorted((PACKAGE / "wire" / "google").rglob("*.py"))

    assert [path.name for path in shared if re.search(r"wire\.(gemini|vertex)", path.read_text(encoding="utf-8"))] == []
