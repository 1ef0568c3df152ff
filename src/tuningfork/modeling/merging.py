"""Merges an adapter into a copy of its base: a plain transformers directory, for programs without LoRA support.

Each adapted weight W becomes W + (alpha / R) B A (Hu et al. 2021, section 4.1), computed in fp32 and stored in W's
type. The base's files are streamed: types, tied heads and the division into files stay as they are, all other weights
stay identical, and only one block of one weight is in memory at a time, however large the model is.

Shape suffixes: D inputs of a layer, O its outputs, H those in one block, R rank.
"""

import errno
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from tuningfork.domain.errors import InvalidArgument
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.chat_template import DEFAULT_TEMPLATE, written_template
from tuningfork.modeling.deltas import STORED_TYPES, Delta, check_identity, deltas_of
from tuningfork.modeling.describing import LOADING_FAULTS
from tuningfork.modeling.files.base_files import companions, weight_files
from tuningfork.modeling.files.disk import reach_disk
from tuningfork.modeling.files.older_readers import add_older_forms
from tuningfork.modeling.files.stored_weights import Stored, stored_in

_BLOCK_NUMBERS = 2**22
"""How many numbers are merged at a time: 16 MiB in fp32."""
_PIECE_BYTES = 2**24

OnProgress = Callable[[int, int], None]
"""Called with the number of bytes of weights that have been written, and the total number."""


def merge(base: Path, adapter: Path, target: Path, *, on_progress: OnProgress = lambda _done, _total: None) -> None:
    """Write the merged model beside `target` and rename it into place.

    The merged model gets the chat template that came with the adapter. Without one it keeps the base's own; if the base
    has none, it gets the default one that tuning and serving used. Configurations are also written as transformers 4
    reads them.

    Args:
        base: a transformers directory with safetensors weights.
        adapter: a directory in PEFT's format.
        target: a directory that is empty or does not exist.
        on_progress: called after each write.

    Raises:
        InvalidArgument: the adapter was made for another base, a file cannot be read, or `target` is not empty.
        OSError: the model could not be written, for example since the disk is full; no partial files remain.

    """
    if is_taken(target):
        raise InvalidArgument(f"{target} is there already; name a new or an empty directory")
    files = weight_files(base)
    check_identity(base, files, adapter)
    deltas = deltas_of(base, files, adapter_format.load(adapter))
    target.parent.mkdir(parents=True, exist_ok=True)
    _check_room(files, target.parent)
    aside = target.with_name(f".{target.name}.{uuid4().hex}")
    aside.mkdir()
    try:
        _write_companions(aside, base, adapter_format.chat_template(adapter))
        _write(aside, files, deltas, on_progress)
        aside.rename(target)
    except BaseException:
        # An incomplete model is of no use, and takes the disk space that the next attempt needs.
        shutil.rmtree(aside)
        raise
    reach_disk(target.parent)


def is_taken(target: Path) -> bool:
    """Whether there is a file or a non-empty directory at `target`, which must not be overwritten."""
    return target.exists() and (not target.is_dir() or any(target.iterdir()))


def _check_room(files: Sequence[Path], directory: Path) -> None:
    wanted, free = sum(file.stat().st_size for file in files), shutil.disk_usage(directory).free
    if wanted > free:
        raise OSError(errno.ENOSPC, f"the merged model takes {wanted:,} bytes, and {free:,} are free", str(directory))


def _write_companions(directory: Path, base: Path, template: str | None) -> None:
    for path in companions(base):
        shutil.copyfile(path, directory / path.name)
    if template is None and not _has_chat_template(base):
        template = _default_template(base)
    if template is not None:
        # Its readers prefer it to one in another file.
        (directory / "chat_template.jinja").write_text(template, encoding="utf-8")
    add_older_forms(directory)


def _write(directory: Path, files: Sequence[Path], deltas: Mapping[str, Delta], on_progress: OnProgress) -> None:
    total, done = sum(file.stat().st_size for file in files), 0
    for file in files:
        with (directory / file.name).open("xb") as written:
            for piece in _merged_file(file, deltas):
                done += written.write(piece)
                on_progress(done, total)
    for path in (*directory.iterdir(), directory):
        reach_disk(path)


def _default_template(base: Path) -> str:
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
    except LOADING_FAULTS:
        # Without a tokenizer nothing can render it.
        return DEFAULT_TEMPLATE
    return written_template(tokenizer)


def _has_chat_template(base: Path) -> bool:
    if any((base / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    try:
        settings = json.loads((base / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(settings, dict) and settings.get("chat_template") is not None


def _merged_file(file: Path, deltas: Mapping[str, Delta]) -> Iterator[bytes]:
    """The file's bytes, with merged weights instead of adapted ones. Types and shapes stay, so the header stays too."""
    stored = stored_in(file)
    with file.open("rb") as read:
        yield from _bytes_of(read, 0, min((each.begin for each in stored), default=file.stat().st_size))
        for each in stored:
            delta = deltas.get(each.name)
            if delta is None:
                yield from _bytes_of(read, each.begin, each.end - each.begin)
            else:
                yield from _merged_blocks(read, each, delta)


def _bytes_of(file: BinaryIO, begin: int, count: int) -> Iterator[bytes]:
    file.seek(begin)
    while count:
        piece = file.read(min(count, _PIECE_BYTES))
        count -= len(piece)
        yield piece


def _merged_blocks(file: BinaryIO, weight: Stored, delta: Delta) -> Iterator[bytes]:
    dtype, (rows, columns) = STORED_TYPES[weight.kind], weight.shape
    height = max(1, _BLOCK_NUMBERS // columns)
    file.seek(weight.begin)
    for begin in range(0, rows, height):
        b_HR = delta.b_OR[begin : begin + height]
        content = bytearray(file.read(len(b_HR) * columns * dtype.itemsize))
        weight_HD = torch.frombuffer(content, dtype=dtype).view(-1, columns)
        merged_HD = torch.addmm(weight_HD.float(), b_HR, delta.a_RD, alpha=delta.scale).to(dtype)
        if not torch.isfinite(merged_HD).all():
            raise InvalidArgument(
                f"{weight.name} with the adapter merged in would hold values that are not finite numbers: the adapter "
                "or the base is damaged"
            )
        yield merged_HD.view(torch.uint8).numpy().tobytes()
