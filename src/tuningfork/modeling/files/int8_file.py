"""Keeps a base's matrices in int8 in a file of the user's cache, so that all processes map the same pages.

Nothing else is there: what is removed is made again when a base is loaded. Each file says which weight files it was
made of; when these are gone or others, it is of no use, and `remove_stale_files` removes it.
"""

import hashlib
import json
import logging
import math
import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tuningfork.domain.errors import BaseUnusable, InvalidArgument
from tuningfork.domain.user_directories import NoHomeDirectory, cache_directory
from tuningfork.modeling.files.base_files import base_directory, weight_files
from tuningfork.modeling.files.disk import reach_disk
from tuningfork.modeling.files.making import alone
from tuningfork.modeling.files.stored_weights import metadata_of

logger = logging.getLogger(__name__)

_FORM = 2
"""To be counted up when the rounding or the metadata change, so that older files are not used any more."""
_SUFFIX = ".safetensors"
_MADE_OF = "made_of"
"""In a file's metadata: the states of the weight files that it was made of, as JSON, and `_FORM`."""
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
    directory = base_directory(location, revision=revision)
    # The target of a link: Hub files are links into a store, under names that say their content.
    made_of = _said([path.resolve() for path in weight_files(directory)])
    # Another name after the weight files were replaced.
    name = f"{directory.name}-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}"
    file = _folder() / f"{name}{_SUFFIX}"
    if file.is_file():
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    with alone(file):
        if not file.is_file():
            logger.info("writing the weights of %s in int8 to %s; this is done once", location, file)
            _make(file, matrices, made_of)
    return file


def remove_stale_files() -> None:
    """Remove the files whose base's weights were replaced or removed since, or that an earlier version has made.

    A process that has mapped such a file keeps its pages. What cannot be read or removed stays, and is logged.
    """
    try:
        files = [path for path in _folder().iterdir() if path.suffix == _SUFFIX]
    except (OSError, NoHomeDirectory):
        # Nothing was ever kept.
        return
    for file in files:
        try:
            if not _is_stale(file):
                continue
            file.unlink(missing_ok=True)
            (file.parent / f".{file.name}.lock").unlink(missing_ok=True)
        except OSError as error:
            logger.warning("%s is of no use any more and could not be removed: %s", file, error)
        else:
            logger.info("removed %s: the weights that it was made of are gone or were replaced", file)


def _folder() -> Path:
    return cache_directory() / "int8"


def _is_stale(file: Path) -> bool:
    try:
        made_of = metadata_of(file).get(_MADE_OF, "")
    except InvalidArgument:
        # It was written whole before it got its name, so it has been damaged since.
        return True
    try:
        _, *states = json.loads(made_of)
        return _said([Path(path) for path, *_ in states]) != made_of
    except (OSError, ValueError, TypeError):
        return True


def _said(files: Sequence[Path]) -> str:
    """What these files are now, as JSON: their paths, sizes and times of change.

    Raises:
        OSError: one of them is not there.

    """
    known = [(str(path), path.stat()) for path in files]
    return json.dumps([_FORM, *([path, state.st_size, state.st_mtime_ns] for path, state in known)])


def _make(file: Path, matrices: Sequence[Matrix], made_of: str) -> None:
    needed = sum(math.prod(each.shape) + _SCALE_BYTES * each.shape[0] for each in matrices)
    free = shutil.disk_usage(file.parent).free
    if free < needed + _KEPT_FREE_BYTES:
        raise BaseUnusable(
            f"takes {needed // 2**20} MiB in int8 in {file.parent}, and of the {free // 2**20} MiB that are free on "
            f"the disk, {_KEPT_FREE_BYTES // 2**20} are to stay so; XDG_CACHE_HOME names another place"
        )
    # Nobody else writes this file now, so what is there was left by a process that was killed.
    for left in file.parent.glob(f".{file.name}.*.partial"):
        left.unlink(missing_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".partial", dir=file.parent)
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as write:
            _write(write, matrices, {_MADE_OF: made_of})
        aside.chmod(0o644)
        reach_disk(aside)
        aside.rename(file)
        reach_disk(file.parent)
    finally:
        aside.unlink(missing_ok=True)


def _write(write: BinaryIO, matrices: Sequence[Matrix], metadata: Mapping[str, str]) -> None:
    """The format: see `stored_weights`. Scales come first: they have to be aligned."""
    described: dict[str, object] = {"__metadata__": dict(metadata)}
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
