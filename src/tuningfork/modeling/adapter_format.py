"""Adapters on disk, in PEFT's format: what `peft.PeftModel.from_pretrained` and every serving engine loads.

A directory holds `adapter_config.json` and `adapter_model.safetensors`; it is complete or not there.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.errors import InvalidArgument
from tuningfork.modeling.disk import as_os_error, reach_disk
from tuningfork.modeling.lora import AdapterWeights

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"

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
"""PEFT's switches that change what an adapter computes, at the only values an adapter slot knows."""


def save(
    directory: Path,
    weights: AdapterWeights,
    base_location: str,
    *,
    base_revision: str | None = None,
    base_fingerprint: str | None = None,
) -> None:
    """Write the adapter beside `directory` and rename it into place, replacing one that is there.

    `base_location` (a Hub id, with a revision or without, or a directory) is what loaders of the adapter will take the
    base from; its fingerprint tells whether what they found is what the adapter was trained over.

    Raises:
        OSError: it could not be written, as when the disk is full; an earlier one is still there.

    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    aside = directory.with_name(f".{directory.name}.{uuid4().hex}")
    aside.mkdir()
    try:
        _write(aside, weights, {"base_model_name_or_path": base_location, "revision": base_revision}, base_fingerprint)
    except BaseException as error:
        # Half an adapter would only take the room that the next one needs.
        shutil.rmtree(aside)
        if isinstance(error, SafetensorError):
            raise as_os_error(error) from error
        raise
    if directory.exists():
        # A directory that is not empty cannot be renamed over.
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
    """Sort the metadata in the header, which safetensors writes in an order of chance: same adapter, same file."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        file.seek(8)
        file.write(json.dumps(header, separators=(",", ":")).encode().ljust(size))


def load(directory: Path) -> AdapterWeights:
    """Read an adapter that was saved here or by PEFT.

    Raises:
        InvalidArgument: the directory holds no LoRA adapter, or one with switches that adapter slots do not know.

    """
    try:
        config = json.loads((directory / CONFIG).read_text())
        tensors = load_file(directory / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise InvalidArgument(
            f"{directory} holds no adapter that can be read ({error}); it needs {CONFIG} and {WEIGHTS}, as PEFT's "
            "save_pretrained writes them"
        ) from error
    _refuse_what_slots_cannot_compute(config, directory)
    return AdapterWeights(AdapterShape(rank=config["r"], alpha=float(config["lora_alpha"])), tensors)


def base_fingerprint(directory: Path) -> str | None:
    """That of the base that the adapter was trained over; None if it does not say, as PEFT's own do not."""
    try:
        with safe_open(directory / WEIGHTS, "pt") as file:
            return (file.metadata() or {}).get(_FINGERPRINT)
    except (OSError, SafetensorError):
        return None


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
    """The layers' own names; a pattern where the decoder is a part of the model, whose other parts have such names too.

    PEFT takes a name for every layer that ends in it, and would lay adapters over those of an image encoder.
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
