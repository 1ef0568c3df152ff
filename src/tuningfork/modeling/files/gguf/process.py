"""Converts a GGUF file in a process of its own with limits, and puts the result in place when it is whole.

`convert_gguf` runs this module as `python -m tuningfork.modeling.files.gguf.process FILE DIRECTORY`. That process
writes a JSON object on a line for each thing it tells: how far it is, or why the file is refused.
"""

import json
import logging
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.files.disk import reach_disk
from tuningfork.modeling.files.gguf.conversion import convert
from tuningfork.modeling.files.gguf.weights import Told
from tuningfork.modeling.files.making import alone

logger = logging.getLogger(__name__)

_MOST_LINE_BYTES, _MOST_SAID_CHARACTERS = 2**16, 2_000
_TOLD_EVERY_BYTES = 2**24
_WHOLE = "config.json"
"""It is written last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What converting a file may take. The slowest quantizations take a tenth of a second for a MiB of the file."""

    memory_bytes: int = 4 * 2**30
    cpu_seconds: int = 120
    cpu_seconds_per_mib: int = 2

    def cpu_seconds_of(self, file: Path) -> int:
        """The seconds of computing for this file."""
        return self.cpu_seconds + self.cpu_seconds_per_mib * (file.stat().st_size // 2**20)

    def __str__(self) -> str:
        return f"{self.memory_bytes / 2**30:.3g} GiB of memory"


USUAL_LIMITS = Limits()


def convert_gguf(file: Path, into: Path, told: Told, *, limits: Limits = USUAL_LIMITS) -> None:
    """Convert a GGUF file into a directory that transformers reads. If the directory is there already, do nothing.

    It is written beside and renamed. If several processes convert into the same directory, one does it and the others
    wait for it.

    Args:
        file: the GGUF file.
        into: the directory to make. It then has config.json, model.safetensors, the tokenizer's files,
            generation_config.json and, if the file has one, chat_template.jinja.
        told: is told now and then how many bytes of the weights, of how many, are written.
        limits: of the process that reads the file.

    Raises:
        BaseUnusable: the file is damaged, has something that cannot be converted, exceeds a limit of time or memory,
            or there is too little space on the disk.
        OSError: the directory cannot be made.

    """
    into.parent.mkdir(parents=True, exist_ok=True)
    with alone(into):
        if (into / _WHOLE).is_file():
            return
        for left in into.parent.glob(f".{into.name}.*.partial"):
            shutil.rmtree(left, ignore_errors=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{into.name}.", suffix=".partial", dir=into.parent))
        try:
            _convert_within_limits(file, aside, told, limits)
            aside.chmod(0o755)
            for each in (*aside.iterdir(), aside):
                reach_disk(each)
            aside.rename(into)
            reach_disk(into.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _convert_within_limits(file: Path, into: Path, told: Told, limits: Limits) -> None:
    seconds = limits.cpu_seconds_of(file)
    arguments = [str(file.absolute()), str(into), str(limits.memory_bytes), str(seconds)]
    command = [sys.executable, "-P", "-m", "tuningfork.modeling.files.gguf.process", *arguments]
    # One thread: numpy's libraries reserve memory for each.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(  # noqa: S603 - our own interpreter and module
        command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, env=environment
    ) as child:
        try:
            refused, said = _listen(child.stdout, told) if child.stdout else (None, "")
        finally:
            child.kill()
    if refused is not None:
        raise BaseUnusable(f"the GGUF file {file.name} cannot be a base model: {refused}")
    if not (into / _WHOLE).is_file():
        logger.warning("converting %s ended with: %s", file, said or "nothing", extra={"action": "gguf_ended"})
        raise BaseUnusable(
            f"the GGUF file {file.name} cannot be a base model: converting it took more than "
            f"{seconds} seconds of computing or {limits}, or was ended"
        )


def _listen(pipe: IO[bytes], told: Told) -> tuple[str | None, str]:
    """Hand on what the process tells; return why the file is refused, or None, and the end of what else it said."""
    refused, said = None, ""
    while line := pipe.readline(_MOST_LINE_BYTES):
        try:
            message: dict[str, Any] = json.loads(line)
            if "refused" in message:
                refused = str(message["refused"])
            else:
                told(int(message["written"]), int(message["of"]))
        except (ValueError, KeyError, TypeError):
            said = (said + line.decode(errors="replace"))[-_MOST_SAID_CHARACTERS:]
    return refused, said


def _limit(memory_bytes: int, cpu_seconds: int) -> None:
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    for what, most in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_CPU, cpu_seconds)):
        _, hard = resource.getrlimit(what)
        soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
        # Not every system limits memory so.
        with suppress(ValueError, OSError):
            resource.setrlimit(what, (soft, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _tell(**message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Convert the file named first into the directory named second, telling it on standard output.

    The third and the fourth argument are the limits: bytes of memory and seconds of computing.
    """
    file, into = map(Path, sys.argv[1:3])
    memory_bytes, cpu_seconds = map(int, sys.argv[3:5])
    last = -_TOLD_EVERY_BYTES

    def told(written: int, total: int) -> None:
        nonlocal last
        if written >= last + _TOLD_EVERY_BYTES or written == total:
            last = written
            _tell(written=written, of=total)

    try:
        _limit(memory_bytes, cpu_seconds)
        convert(file, into, told)
    except BaseUnusable as error:
        _tell(refused=error.message)
    except MemoryError:
        _tell(refused=f"reading it takes more than {Limits(memory_bytes=memory_bytes)}")
    except BrokenPipeError:
        # Nobody listens any more.
        return
    except OSError as error:
        _tell(refused=f"it could not be converted: {error.strerror or error}")


if __name__ == "__main__":
    main()
