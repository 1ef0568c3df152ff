"""Reads and writes adapters in PEFT's format, which `peft.PeftModel.from_pretrained` and every serving engine load.

A directory holds `adapter_config.json` and `adapter_model.safetensors`; it appears only when it is complete.
"""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.errors import InvalidArgument
from tuningfork.modeling.adapters.weights import AdapterWeights
from tuningfork.modeling.files.disk import as_os_error, reach_disk

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
CHAT_TEMPLATE = "chat_template.jinja"
"""Beside an exported adapter whose base has a chat template in the server's catalog."""

_FINGERPRINT = "base_fingerprint"

_PLAIN = {
    "use_dora": False,
    "use_rslora": False,
    "fan_in_fan_out": False,
    "bias": "none",
    "rank_pattern": {},
    "alpha_pattern": {},
    "modules_to_save": None,
    "lora_bias": False,
    "trainable_token_indices": None,
    "target_parameters": None,
}
"""PEFT's options that change what an adapter computes, with the only values that adapter slots support."""


class AdapterUnreadable(InvalidArgument):
    """A directory holds no adapter that can be read. `reason` says why without naming a path."""

    def __init__(self, directory: Path, reason: str) -> None:
        super().__init__(
            f"{directory} holds no adapter that can be read ({reason}); it needs {CONFIG} and {WEIGHTS}, as PEFT's "
            "save_pretrained writes them"
        )
        self.reason = reason


def save(
    directory: Path,
    weights: AdapterWeights,
    base_name: str,
    *,
    base_revision: str | None = None,
    base_fingerprint: str | None = None,
) -> None:
    """Write the adapter to a temporary directory and rename it to `directory`, replacing an earlier adapter there.

    `base_name` (a Hub id, with a revision or without, or a public name) tells programs that load the adapter what its
    base is; the fingerprint lets them check that it is the base that the adapter was trained on.

    Raises:
        OSError: the adapter could not be written, for example since the disk is full; an earlier one is still there.

    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    aside = directory.with_name(f".{directory.name}.{uuid4().hex}")
    aside.mkdir()
    try:
        _write(aside, weights, {"base_model_name_or_path": base_name, "revision": base_revision}, base_fingerprint)
    except BaseException as error:
        # An incomplete adapter would only take disk space.
        shutil.rmtree(aside)
        if isinstance(error, SafetensorError):
            raise as_os_error(error) from error
        raise
    if directory.exists():
        # `rename` does not replace a directory that is not empty.
        old = directory.with_name(f".{directory.name}.{uuid4().hex}")
        directory.rename(old)
        aside.rename(directory)
        shutil.rmtree(old)
    else:
        aside.rename(directory)
    reach_disk(directory.parent)


def _write(directory: Path, weights: AdapterWeights, base: dict[str, str | None], base_fingerprint: str | None) -> None:
    (directory / CONFIG).write_text(json.dumps(_config(weights) | base, indent=2, sort_keys=True) + "\n")
    tensors = {name: tensor.detach().to("cpu").contiguous() for name, tensor in weights.tensors.items()}
    known = {_FINGERPRINT: base_fingerprint} if base_fingerprint else {}
    save_file(tensors, directory / WEIGHTS, metadata={"format": "pt", **known})
    _settle_order(directory / WEIGHTS)
    for path in (directory / CONFIG, directory / WEIGHTS, directory):
        reach_disk(path)


def _settle_order(path: Path) -> None:
    """Sort the metadata in the header, which safetensors writes in random order, so that equal adapters give equal
    files.

    `path` is a safetensors file.
    """
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        file.seek(8)
        file.write(json.dumps(header, separators=(",", ":")).encode().ljust(size))


def chat_template(directory: Path) -> str | None:
    """The chat template beside an exported adapter, in place of its base's own; None: there is none.

    Raises:
        AdapterUnreadable: it cannot be read.

    """
    try:
        return (directory / CHAT_TEMPLATE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise AdapterUnreadable(directory, f"{CHAT_TEMPLATE}: {error}") from error


def load(directory: Path) -> AdapterWeights:
    """Read an adapter that was saved here or by PEFT.

    Raises:
        AdapterUnreadable: the directory holds no adapter, or its files are damaged.
        InvalidArgument: it is no LoRA adapter, or has options that adapter slots do not support.

    """
    with _unreadable(directory):
        config = _read_config(directory)
        tensors = load_file(directory / WEIGHTS)
        shape = _shape(config)
    _refuse_what_slots_cannot_compute(config, directory)
    # In a mixed batch, an infinity in one adapter would spoil the rows of the others, since 0 * inf is NaN.
    if strange := [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]:
        raise AdapterUnreadable(directory, f"it is damaged: {min(strange)} has values that are not finite numbers")
    return AdapterWeights(shape, tensors)


def shape_in(directory: Path) -> AdapterShape:
    """The shape of an adapter, without its weights.

    Raises:
        AdapterUnreadable: the directory holds no adapter, or its files are damaged.

    """
    with _unreadable(directory):
        return _shape(_read_config(directory))


def base_fingerprint(directory: Path) -> str | None:
    """The fingerprint of the base that the adapter was trained on.

    None if the adapter has none, as those saved by PEFT.
    """
    try:
        with safe_open(directory / WEIGHTS, "pt") as file:
            return (file.metadata() or {}).get(_FINGERPRINT)
    except (OSError, SafetensorError):
        return None


@contextmanager
def _unreadable(directory: Path) -> Iterator[None]:
    """Within the `with` block, replace errors of reading an adapter's files by `AdapterUnreadable`."""
    try:
        yield
    except OSError as error:
        raise AdapterUnreadable(directory, error.strerror or type(error).__name__) from error
    except (ValueError, KeyError, TypeError, OverflowError, SafetensorError) as error:
        raise AdapterUnreadable(directory, str(error) or type(error).__name__) from error


def _read_config(directory: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
    return config


def _shape(config: dict[str, Any]) -> AdapterShape:
    return AdapterShape(rank=int(config["r"]), alpha=float(config["lora_alpha"]))


def _config(weights: AdapterWeights) -> dict[str, Any]:
    alpha = float(weights.shape.alpha)
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "inference_mode": True,
        "r": weights.shape.rank,
        "lora_alpha": int(alpha) if alpha.is_integer() else alpha,
        "lora_dropout": 0.0,
        "init_lora_weights": True,
        "target_modules": _targets(weights),
        **_PLAIN,
    }


def _targets(weights: AdapterWeights) -> list[str] | str:
    """PEFT's `target_modules`: the last parts of the layers' names, or a pattern if the decoder is part of a larger
    model.

    PEFT adapts every layer whose path ends with one of the names, so without the pattern it would also adapt layers of
    an image encoder.
    """
    paths = [name.removesuffix(".lora_A.weight") for name in weights.tensors if "lora_A" in name]
    names = sorted({path.rpartition(".")[2] for path in paths})
    stems = sorted({path.removeprefix("base_model.model.").partition(".layers.")[0] for path in paths})
    if stems == ["model"] or not all(".layers." in path for path in paths):
        return names
    return rf"({'|'.join(map(re.escape, stems))})\.layers\..*\.({'|'.join(map(re.escape, names))})"


def _refuse_what_slots_cannot_compute(config: dict[str, Any], directory: Path) -> None:
    if config.get("peft_type") != "LORA":
        raise InvalidArgument(
            f"{directory} holds a {config.get('peft_type')} adapter; only LORA adapters are supported"
        )
    for switch, plain in _PLAIN.items():
        given = config.get(switch)
        if given and given != plain:
            raise InvalidArgument(
                f"the adapter in {directory} was made with {switch}={given!r}, which is not supported; only "
                f"{switch}={plain!r} is"
            )
