"""Compiles the C++ sources of this folder into one shared library beside them.

`hatch_build.py` calls it while the package is built, before any package is installed, so it imports the standard
library only. A build takes about 40 seconds of processor time; each file is compiled by a process of its own.
"""

import hashlib
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path(__file__).parent
LIBRARY = FOLDER / "_compiled.so"

_X86 = {"x86_64", "amd64"}
_AVX2 = ("-mavx2", "-mfma", "-mf16c")
_AVX512 = (*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl")
INSTRUCTION_SETS = {"avx2": _AVX2, "avx512": _AVX512, "avx512bf16": (*_AVX512, "-mavx512bf16")}
"""The compiler's flags for sources whose names end in `_avx2`, `_avx512` and `_avx512bf16`; x86 only."""

_FLAGS = (
    *("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-pthread", "-Wall", "-Wextra"),
    # The compiler neither fuses nor reorders what is written out: each result has one order of sums.
    *("-ffp-contract=off", "-fno-math-errno"),
)
_COMPILERS = ("c++", "g++", "clang++")
_PROCESSOR_SECONDS = 600
"""The most that one file may take to compile. A busy machine may take far longer for it by the clock."""
_CLOCK_SECONDS = 7_200
"""When a compiler is given up that waits for something."""


class NotCompiled(Exception):
    """No library was made; the message says why."""


def sources(folder: Path = FOLDER) -> list[Path]:
    """The C++ files, headers included, in a fixed order."""
    return sorted(path for path in folder.iterdir() if path.suffix in {".cpp", ".h"})


def digest(folder: Path = FOLDER) -> str:
    """A digest of the sources and of how they are compiled. A library contains the digest of its sources."""
    found = hashlib.sha256(repr((_FLAGS, INSTRUCTION_SETS)).encode())
    for path in sources(folder):
        found.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return found.hexdigest()


def is_current(library: Path, folder: Path = FOLDER) -> bool:
    """Whether this library was compiled from these sources."""
    try:
        return digest(folder).encode() in library.read_bytes()
    except OSError:
        return False


def build(folder: Path = FOLDER, library: Path = LIBRARY, compiler: list[str] | None = None) -> None:
    """Compile the library, unless one of the same sources is there. A library of other sources is removed first.

    Args:
        folder: holds the sources.
        library: the file to make.
        compiler: the command that compiles C++; None: that of `CXX`, else the first that is installed.

    Raises:
        NotCompiled: there is no compiler, it failed, or the folder cannot be written to.

    """
    if is_current(library, folder):
        return
    try:
        _build(folder, library, compiler or _compiler())
    except OSError as error:
        raise NotCompiled(f"{library} cannot be written: {error}") from error


def _build(folder: Path, library: Path, command: list[str]) -> None:
    library.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="tuningfork-", dir=folder) as place:
        named = f'-DTF_SOURCES="{digest(folder)}"'

        def translate(path: Path, flags: tuple[str, ...]) -> str:
            target = str(Path(place) / f"{path.stem}.o")
            _run([*command, *_FLAGS, *flags, named, "-c", str(path), "-o", target])
            return target

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(translate, *zip(*_translated(folder), strict=True)))
        made = Path(place) / library.name
        _run([*command, "-shared", "-pthread", *objects, "-o", str(made)])
        # A process that has loaded the former library keeps its own file.
        made.replace(library)


def _translated(folder: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Each file to compile on this kind of processor, with its flags."""
    for path in sources(folder):
        _, _, ending = path.stem.rpartition("_")
        flags = INSTRUCTION_SETS.get(ending)
        if path.suffix == ".cpp" and (flags is None or platform.machine().lower() in _X86):
            yield path, flags or ()


def _compiler() -> list[str]:
    if sys.platform == "win32":
        raise NotCompiled("a server does not run on Windows itself")
    chosen = shlex.split(os.environ.get("CXX", ""))
    if chosen:
        return chosen
    found = next((path for name in _COMPILERS if (path := shutil.which(name))), None)
    if found is None:
        raise NotCompiled(f"there is no C++ compiler (looked for {', '.join(_COMPILERS)}; CXX names another)")
    return [found]


def _run(command: list[str]) -> None:
    # The shell sets the limit of processor time, which `subprocess` can do only where there is a single thread.
    limited = ["/bin/sh", "-c", f'ulimit -S -t {_PROCESSOR_SECONDS}; exec "$0" "$@"', *command]
    try:
        done = subprocess.run(  # noqa: S603 - the compiler that the user has chosen
            limited, capture_output=True, text=True, errors="replace", check=False, timeout=_CLOCK_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotCompiled(f"{command[0]} could not be run: {error}") from error
    if done.returncode == -signal.SIGXCPU:
        raise NotCompiled(f"{command[0]} was ended after {_PROCESSOR_SECONDS} seconds of processor time")
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
        raise NotCompiled(f"{command[0]} ended with {done.returncode}{': ' + said[0] if said else ''}")
