"""The type that everybody computes in: bfloat16 where the machine has products of it, else float32.

Peers compute in bfloat16 by default. A processor without such products emulates them, some hundred times slower than
float32: figures of that say nothing about a peer.
"""

import torch

from tuningfork.modeling.device.processor import native_dtype

IN_FLOAT32 = (
    "This processor has no bfloat16 products. Everybody computes in float32 here, peers whose default is bfloat16 too."
)


def native(device: str) -> str:
    """The type's name in torch."""
    return str(native_dtype(torch.device(device))).removeprefix("torch.")


def notes(device: str) -> list[str]:
    """What a reader has to know of the precision, in sentences."""
    return [IN_FLOAT32] if native(device) == "float32" else []
