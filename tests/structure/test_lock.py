"""`requirements.lock` agrees with `pyproject.toml`; the range of torch is the same wherever it is named."""

import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
ENTRIES = re.findall(
    r"^(\S+)==(\S+)(?: ; [^\\\n]+)? \\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", LOCK, re.MULTILINE
)
OF_BUILDS = ("torch", "triton")
"""Which version of them fits depends on torch's build for the machine."""

NAMED = {
    each
    for text in [
        *PROJECT["dependencies"],
        *(each for extra in PROJECT["optional-dependencies"].values() for each in extra),
    ]
    if (each := Requirement(text)).name not in {"tuningfork", *OF_BUILDS}
}


@pytest.mark.parametrize("requirement", sorted(NAMED, key=str), ids=str)
def test_what_the_project_asks_for_is_in_the_lock_in_a_version_of_its_range(requirement):
    versions = [version for name, version, _ in ENTRIES if name == canonicalize_name(requirement.name)]

    # `make lock` writes it anew.
    assert versions
    assert all(requirement.specifier.contains(version, prereleases=True) for version in versions)


def test_every_line_of_the_lock_is_a_version_with_digests_and_names_no_host():
    begun = re.findall(r"^[^ \n]", LOCK, re.MULTILINE)

    assert len(ENTRIES) == len(begun)
    assert "//" not in LOCK
    assert {name for name, _, _ in ENTRIES} & set(OF_BUILDS) == set()


@pytest.mark.parametrize("file", ["Makefile", "docs/installing.md", "docs/deploying.md", "deploy/Containerfile"])
def test_torch_has_one_range(file):
    (torch,) = [text for text in PROJECT["optional-dependencies"]["server"] if Requirement(text).name == "torch"]
    named = re.findall(r"torch>=[\d.]+,<[\d.]+", (ROOT / file).read_text(encoding="utf-8"))

    assert set(named) == {torch}


def made(target, *variables):
    """The lines that make would run."""
    shown = subprocess.run(
        ["make", "--dry-run", target, *variables],
        cwd=ROOT,
        # Without the variables of a make that runs this test.
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return shown.stdout.splitlines()


def test_make_lock_leaves_out_what_builds_of_torch_bring(tmp_path):
    (excluding,) = [line for line in made("lock", f"VENV={tmp_path / 'venv'}") if "uv pip compile" in line]
    printed = excluding.partition(" | ")[0]

    assert shlex.split(printed) == ["printf", "".join(f"{name}\\n" for name in OF_BUILDS)]


def test_triton_is_installed_after_torch_and_only_where_no_torch_has_brought_it(tmp_path):
    (triton,) = [text for text in PROJECT["optional-dependencies"]["dev"] if Requirement(text).name == "triton"]
    lines = made("locked", f"VENV={tmp_path / 'venv'}")
    installing = [each for each in lines if "pip install" in each]

    # Pip leaves a version that is there and in this range as it is.
    assert [name in line for line in installing[:3] for name in ["torch>=", "requirements.lock", "triton>="]] == [
        *(True, False, False),
        *(False, True, False),
        *(False, False, True),
    ]
    assert Requirement(shlex.split(installing[2])[-1]) == Requirement(triton)


def test_an_environment_that_could_not_be_made_does_not_pass_for_one(tmp_path):
    venv = tmp_path / "venv"
    python = tmp_path / "python"
    # As Debian's does without python3-venv.
    python.write_text('#!/bin/sh\n[ "$1" = -c ] && exit\nmkdir -p "$3/bin"; touch "$3/bin/python"; exit 1\n')
    python.chmod(0o755)
    command = ["make", f"{venv}/bin/python", f"VENV={venv}", f"PYTHON={python}"]

    codes = [
        subprocess.run(
            command, cwd=ROOT, env={"PATH": os.environ["PATH"]}, capture_output=True, check=False, timeout=60
        ).returncode
        for _ in range(2)
    ]

    assert codes == [2, 2]


@pytest.mark.parametrize("target", ["tutorial", "test", "locked"])
def test_make_takes_torch_from_the_index_that_is_named(target, tmp_path):
    (torch,) = [text for text in PROJECT["optional-dependencies"]["server"] if Requirement(text).name == "torch"]

    def commands(*variables):
        return [line for line in made(target, f"VENV={tmp_path / 'venv'}", *variables) if "torch>=" in line]

    (installing,) = commands("TORCH_INDEX=https://torch.example.com/cpu")
    assert installing.endswith(f"--index-url 'https://torch.example.com/cpu' '{torch}'")
    assert [line for line in commands() if "--index-url" in line] == []
