"""The changes that an adapter makes to the weights in its base's files: what is merged into them.

Shape suffixes: D inputs of a layer, O its outputs, R rank.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

from tuningfork.domain.errors import InvalidArgument
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.adapters.weights import AdapterWeights
from tuningfork.modeling.files.skeleton import read_config, skeleton
from tuningfork.modeling.files.stored_weights import fingerprint, stored_in

_PEFT_PREFIX, _A, _B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"

STORED_TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""The types of weights that an adapter can be merged into, by their names in safetensors."""


@dataclass(frozen=True, slots=True)
class Delta:
    """The change that an adapter makes to one weight: scale B A."""

    a_RD: Tensor
    b_OR: Tensor
    scale: float


def check_identity(base: Path, files: Sequence[Path], adapter: Path) -> None:
    """Check that the base has the fingerprint that the adapter names.

    Shapes alone would not distinguish an instruction-tuned base from the base before instruction tuning.

    Raises:
        InvalidArgument: it has another one.

    """
    known = adapter_format.base_fingerprint(adapter)
    if known is not None and known != fingerprint(files):
        raise InvalidArgument(
            f"the weights in {base} are not those that the adapter was trained over: another model of the same shape, "
            "another revision, or converted to another type; name the base that it was made for"
        )


def deltas_of(base: Path, files: Sequence[Path], adapter: AdapterWeights) -> dict[str, Delta]:
    """The change of each adapted weight, by the weight's name in the base's files.

    Raises:
        InvalidArgument: the adapter does not fit the base, or a file cannot be read.

    """
    stored = [each for file in files for each in stored_in(file)]
    shapes = {each.name: each.shape for each in stored if len(each.shape) == 2 and each.kind in STORED_TYPES}
    layers = sorted({_layer(name) for name in adapter.tensors})
    names = stored_names(base, shapes, [f"{layer}.weight" for layer in layers])
    if missing := [layer for layer in layers if f"{layer}.weight" not in names]:
        raise InvalidArgument(
            f"the adapter does not fit the base in {base}: the base stores no weight for {len(missing)} of its "
            f"{len(layers)} layers, such as {missing[0]}; name the base that it was made for"
        )
    deltas = {}
    for layer in layers:
        name = names[f"{layer}.weight"]
        a_RD, b_OR = (adapter.tensors.get(f"{_PEFT_PREFIX}{layer}{end}") for end in (_A, _B))
        wanted = [(adapter.shape.rank, shapes[name][-1]), (shapes[name][0], adapter.shape.rank)]
        found = [None if each is None else tuple(each.shape) for each in (a_RD, b_OR)]
        if a_RD is None or b_OR is None or found != wanted:
            raise InvalidArgument(
                f"the adapter does not fit the base in {base}: at {layer} its matrices are {found[0]} and {found[1]}, "
                f"and the base's weight wants {wanted[0]} and {wanted[1]}; name the base that it was made for"
            )
        deltas[name] = Delta(a_RD.float(), b_OR.float(), adapter.shape.alpha / adapter.shape.rank)
    return deltas


def _layer(name: str) -> str:
    """The path of the layer that an adapter's tensor belongs to."""
    layer = name.removesuffix(_A).removesuffix(_B)
    if layer == name or not name.startswith(_PEFT_PREFIX):
        raise InvalidArgument(f"the adapter holds {name}, which is no LoRA matrix of a linear layer")
    return layer.removeprefix(_PEFT_PREFIX)


def stored_names(base: Path, stored: Collection[str], wanted: Sequence[str]) -> dict[str, str]:
    """For each weight of the loaded model, its name in the base's files; older files name weights differently.

    Those that the files do not have, or that transformers converts from others when it loads them, are left out.
    """
    if all(name in stored for name in wanted):
        return {name: name for name in wanted}
    renamed = _as_loaded(base, stored)
    return {name: renamed[name] for name in wanted if name in renamed}


def _as_loaded(base: Path, stored: Collection[str]) -> dict[str, str]:
    """Maps names in the loaded model to names in the files, for weights that transformers loads without conversion."""
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
