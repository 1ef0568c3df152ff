"""An adapter merged into a copy of its base: a plain transformers directory that knows nothing of adapters.

Each adapted weight W becomes W + (alpha / R) B A (Hu et al. 2021, section 4.1), computed in fp32 and stored in the type
that W is stored in. The base's files are copied as they stream by: types, tied heads and the cut into files stay as
they are, all other weights stay the same to the bit, and memory holds one block of one weight, however large the model.

Shape suffixes: D inputs of a layer, O its outputs, H those in one block, R rank.
"""

import errno
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import torch
from torch import Tensor
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

from tuningfork.domain.errors import InvalidArgument
from tuningfork.modeling import adapter_format
from tuningfork.modeling.base_files import companions, weight_files
from tuningfork.modeling.chat_template import DEFAULT_TEMPLATE
from tuningfork.modeling.disk import reach_disk
from tuningfork.modeling.lora import AdapterWeights
from tuningfork.modeling.skeleton import read_config, skeleton
from tuningfork.modeling.stored_weights import Stored, fingerprint, stored_in

_PEFT_PREFIX, _A, _B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
_BLOCK_NUMBERS = 2**22
"""Rows are merged 16 MiB of fp32 at a time."""
_PIECE_BYTES = 2**24
_STORED_TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}

Told = Callable[[int, int], None]
"""Hears how many bytes of weights are written, of how many."""


@dataclass(frozen=True, slots=True)
class _Delta:
    """What an adapter adds to one weight: scale B A."""

    a_RD: Tensor
    b_OR: Tensor
    scale: float


def merge(base: Path, adapter: Path, target: Path, *, told: Told = lambda _done, _total: None) -> None:
    """Write the merged model beside `target` and rename it into place.

    A base without a chat template gets the one that it was tuned and served with.

    Args:
        base: a transformers directory with safetensors weights.
        adapter: a directory in PEFT's format.
        target: new, or empty.
        told: hears of the progress.

    Raises:
        InvalidArgument: the adapter was made for another base, a file cannot be read, or `target` is not empty.
        OSError: it could not be written, as when the disk is full; nothing is left of it.

    """
    if is_taken(target):
        raise InvalidArgument(f"{target} is there already; name a new or an empty directory")
    files = weight_files(base)
    _check_identity(base, files, adapter)
    deltas = _deltas(base, files, adapter_format.load(adapter))
    target.parent.mkdir(parents=True, exist_ok=True)
    _check_room(files, target.parent)
    aside = target.with_name(f".{target.name}.{uuid4().hex}")
    aside.mkdir()
    try:
        _write(aside, base, files, deltas, told)
        aside.rename(target)
    except BaseException:
        # Half a model would only take the room that the next attempt needs.
        shutil.rmtree(aside)
        raise
    reach_disk(target.parent)


def _check_identity(base: Path, files: Sequence[Path], adapter: Path) -> None:
    """Other weights of the same shapes, as those before instruction tuning, would be merged into without a word."""
    known = adapter_format.base_fingerprint(adapter)
    if known is not None and known != fingerprint(files):
        raise InvalidArgument(
            f"the weights in {base} are not those that the adapter was trained over: another model of the same shape, "
            "another revision, or converted to another type; name the base that it was made for"
        )


def is_taken(target: Path) -> bool:
    """Whether something is there that must not be written over: a file, or a directory that is not empty."""
    return target.exists() and (not target.is_dir() or any(target.iterdir()))


def _check_room(files: Sequence[Path], directory: Path) -> None:
    wanted, free = sum(file.stat().st_size for file in files), shutil.disk_usage(directory).free
    if wanted > free:
        raise OSError(errno.ENOSPC, f"the merged model takes {wanted:,} bytes, and {free:,} are free", str(directory))


def _write(directory: Path, base: Path, files: Sequence[Path], deltas: Mapping[str, _Delta], told: Told) -> None:
    for path in companions(base):
        shutil.copyfile(path, directory / path.name)
    if not _has_chat_template(base):
        (directory / "chat_template.jinja").write_text(DEFAULT_TEMPLATE, encoding="utf-8")
    total, done = sum(file.stat().st_size for file in files), 0
    for file in files:
        with (directory / file.name).open("xb") as written:
            for piece in _merged_file(file, deltas):
                done += written.write(piece)
                told(done, total)
    for path in (*directory.iterdir(), directory):
        reach_disk(path)


def _has_chat_template(base: Path) -> bool:
    if any((base / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    try:
        settings = json.loads((base / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(settings, dict) and settings.get("chat_template") is not None


def _merged_file(file: Path, deltas: Mapping[str, _Delta]) -> Iterator[bytes]:
    """The file's bytes, those of adapted weights replaced; as these keep type and shape, the header holds."""
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


def _merged_blocks(file: BinaryIO, weight: Stored, delta: _Delta) -> Iterator[bytes]:
    dtype, (rows, columns) = _STORED_TYPES[weight.kind], weight.shape
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


def _deltas(base: Path, files: Sequence[Path], adapter: AdapterWeights) -> dict[str, _Delta]:
    """What is added, by the name under which the base stores the weight.

    Raises:
        InvalidArgument: the adapter does not fit the base, or a file cannot be read.

    """
    stored = [each for file in files for each in stored_in(file)]
    shapes = {each.name: each.shape for each in stored if len(each.shape) == 2 and each.kind in _STORED_TYPES}
    names = _stored_names(base, shapes, sorted({_layer(name) for name in adapter.tensors}))
    deltas = {}
    for layer, name in names.items():
        a_RD, b_OR = (adapter.tensors.get(f"{_PEFT_PREFIX}{layer}{end}") for end in (_A, _B))
        wanted = [(adapter.shape.rank, shapes[name][-1]), (shapes[name][0], adapter.shape.rank)]
        found = [None if each is None else tuple(each.shape) for each in (a_RD, b_OR)]
        if a_RD is None or b_OR is None or found != wanted:
            raise InvalidArgument(
                f"the adapter does not fit the base in {base}: at {layer} its matrices are {found[0]} and {found[1]}, "
                f"and the base's weight wants {wanted[0]} and {wanted[1]}; name the base that it was made for"
            )
        deltas[name] = _Delta(a_RD.float(), b_OR.float(), adapter.shape.alpha / adapter.shape.rank)
    return deltas


def _layer(name: str) -> str:
    """The layer that an adapter's tensor is for."""
    layer = name.removesuffix(_A).removesuffix(_B)
    if layer == name or not name.startswith(_PEFT_PREFIX):
        raise InvalidArgument(f"the adapter holds {name}, which is no LoRA matrix of a linear layer")
    return layer.removeprefix(_PEFT_PREFIX)


def _stored_names(base: Path, stored: Mapping[str, Any], layers: Sequence[str]) -> dict[str, str]:
    """For each adapted layer, the name of its weight in the base's files, which can be older than the model's own."""
    if all(f"{layer}.weight" in stored for layer in layers):
        return {layer: f"{layer}.weight" for layer in layers}
    renamed = _as_loaded(base, stored)
    if missing := [layer for layer in layers if f"{layer}.weight" not in renamed]:
        raise InvalidArgument(
            f"the adapter does not fit the base in {base}: the base stores no weight for {len(missing)} of its "
            f"{len(layers)} layers, such as {missing[0]}; name the base that it was made for"
        )
    return {layer: renamed[f"{layer}.weight"] for layer in layers}


def _as_loaded(base: Path, stored: Mapping[str, Any]) -> dict[str, str]:
    """The stored names by those that the loaded model has, for weights that loading takes as they are."""
    model: Any = skeleton(read_config(str(base)))
    changes = get_model_conversion_mapping(model)
    renamings = [change for change in changes if isinstance(change, WeightRenaming)]
    converters = [change for change in changes if isinstance(change, WeightConverter)]
    wanted = model.state_dict()
    found = {}
    for name in stored:
        loaded, converter = rename_source_key(name, renamings, converters, model.base_model_prefix, wanted)
        if converter is None:
            found[loaded] = name
    return found
