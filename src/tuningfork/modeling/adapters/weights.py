"""An adapter's weights outside an engine, as they are in files.

Shape suffixes: R rank, D inputs of a layer, O its outputs.
"""

from dataclasses import dataclass

from torch import Tensor

from tuningfork.domain.base_model import AdapterShape


@dataclass(frozen=True, slots=True)
class AdapterWeights:
    """An adapter outside an engine: fp32 tensors, A `RD` and B `OR`, under the names that PEFT stores them by."""

    shape: AdapterShape
    tensors: dict[str, Tensor]
