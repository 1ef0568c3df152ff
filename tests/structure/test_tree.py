"""The tree stands alone: nothing in it needs, or names, a place outside."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Absolute homes and workplaces, a neighbour of the checkout, package registries. Written so as not to match itself.
OUTSIDE = re.compile(
    r"(?<![\w.])/(?:work|root|home)/|\.\./(?:shared)|(?:pypi|pythonhosted)\.(?:org)|registry\.(?:npmjs)"
)


def tracked_texts():
    if shutil.which("git") is None:
        pytest.skip("git is not installed, which knows what files belong to the tree")
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, cwd=ROOT, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: an unpacked archive does not say which files belong to it")
    for name in listed.stdout.split("\0"):
        path = ROOT / name
        if name and path.is_file() and path.suffix not in {".safetensors", ".png"}:
            yield name, path.read_text(encoding="utf-8", errors="replace")


def test_no_file_names_a_place_outside_the_tree():
    found = [
        f"{name}:{number}: {match[0]}"
        for name, text in tracked_texts()
        for number, line in enumerate(text.splitlines(), start=1)
        for match in OUTSIDE.finditer(line)
    ]

    assert found == []


def test_the_licence_is_there_and_named():
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").lstrip().startswith("Apache License")
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
