"""Keeps a base's matrices in int8 in a file of the user's cache, so that all processes map the same pages.

Nothing else is there: what is removed is made again when a base is loaded.
"""

import hashlib
import json
import logging
import math
import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tuningfork.domain.errors import BaseUnusable
from tuningfork.domain.user_directories import cache_directory
from tuningfork.modeling.files.base_files import base_directory, weight_files
from tuningfork.modeling.files.disk import reach_disk
from tuningfork.modeling.files.making import alone

logger = logging.getLogger(__name__)

_FORM = 1
"""To be counted up when the rounding changes, so that older files are not used any more."""
_ALIGNMENT = 64
_KEPT_FREE_BYTES = 256 * 2**20
"""What must be left of the disk."""
_SCALE_BYTES = 4


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix to be stored: its name, its rows and columns, and what makes it.

    `rounded` yields blocks of rows: their numbers in int8, and their scales in fp32.
    """

    name: str
    shape: tuple[int, ...]
    rounded: Callable[[], Iterator[tuple[bytes, bytes]]]


def int8_file(matrices: Sequence[Matrix], location: str, revision: str | None) -> Path:
    """The safetensors file with the matrices of a base, made if it is not there yet.

    For each matrix it has `NAME.weight` in int8 and `NAME.scale` in fp32.

    Raises:
        BaseUnusable: there is no space for it, or a matrix cannot be rounded; the message is a part of a sentence.
        OSError, NoHomeDirectory: there is no place for it.

    """
    file = cache_directory() / "int8" / f"{_name_of(location, revision)}.safetensors"
    if file.is_file():
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    with alone(file):
        if not file.is_file():
            logger.info("writing the weights of %s in int8 to %s; this is done once", location, file)
            _make(file, matrices)
    return file


def _name_of(location: str, revision: str | None) -> str:
    """A name for what the weight files are now: another one after they were replaced."""
    directory = base_directory(location, revision=revision)
    said = [str(_FORM)]
    for path in weight_files(directory):
        known = path.stat()
        # The target of a link: Hub files are links into a store, under names that say their content.
        said.append(f"{path.resolve()} {known.st_size} {known.st_mtime_ns}")
    return f"{directory.name}-{hashlib.sha256(' '.join(said).encode()).hexdigest()[:16]}"


def _make(file: Path, matrices: Sequence[Matrix]) -> None:
    needed = sum(math.prod(each.shape) + _SCALE_BYTES * each.shape[0] for each in matrices)
    free = shutil.disk_usage(file.parent).free
    if free < needed + _KEPT_FREE_BYTES:
        raise BaseUnusable(
            f"takes {needed // 2**20} MiB in int8 in {file.parent}, and of the {free // 2**20} MiB that are free on "
            f"the disk, {_KEPT_FREE_BYTES // 2**20} are to stay so; XDG_CACHE_HOME names another place"
        )
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".partial", dir=file.parent)
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as write:
            _write(write, matrices)
        aside.chmod(0o644)
        reach_disk(aside)
        aside.rename(file)
        reach_disk(file.parent)
    finally:
        aside.unlink(missing_ok=True)


def _write(write: BinaryIO, matrices: Sequence[Matrix]) -> None:
    """The format: see `stored_weights`. Scales come first: they have to be aligned."""
    described: dict[str, object] = {}
    begin = 0
    for each in matrices:
        end = begin + _SCALE_BYTES * each.shape[0]
        described[f"{each.name}.scale"] = {"dtype": "F32", "shape": [each.shape[0]], "data_offsets": [begin, end]}
        begin = end
    first = begin
    for each in matrices:
        end = begin + math.prod(each.shape)
        described[f"{each.name}.weight"] = {"dtype": "I8", "shape": list(each.shape), "data_offsets": [begin, end]}
        begin = end
    header = json.dumps(described).encode()
    header += b" " * (-(len(header) + 8) % _ALIGNMENT)
    write.write(struct.pack("<Q", len(header)) + header)
    write.seek(first, os.SEEK_CUR)
    scales = []
    for each in matrices:
        for numbers, own in each.rounded():
            write.write(numbers)
            scales.append(own)
    write.seek(8 + len(header))
    write.write(b"".join(scales))
