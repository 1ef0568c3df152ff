"""The tree stands alone: nothing in it needs, or names, a place outside."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Written apart, so that this file does not find itself.
OUTSIDE = ["/" + "work/", "../" + "shared", "/" + "root/", "/" + "home/", "pypi" + ".org", "pythonhosted" + ".org"]


def tracked_texts():
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, cwd=ROOT, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: an unpacked archive does not say which files belong to it")
    for name in listed.stdout.split("\0"):
        path = ROOT / name
        if name and path.is_file() and path.suffix not in {".safetensors", ".png"}:
            yield name, path.read_text(encoding="utf-8", errors="replace")


def test_no_file_names_a_place_outside_the_tree():
    found = [
        f"{name}:{number}: {place}"
        for name, text in tracked_texts()
        for number, line in enumerate(text.splitlines(), start=1)
        for place in OUTSIDE
        if place in line
    ]

    assert found == []


def test_the_licence_is_there_and_named():
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").lstrip().startswith("Apache License")
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
