"""Rotary tables of a model, and buffers for the rotations of passes that a CUDA graph replays.

Shape suffixes: T tokens, K head size.
"""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from tuningfork.modeling.kernels.base import Rotation


class RotaryTables(Protocol):
    """The rotary tables of one kind of layer."""

    @property
    def is_fixed(self) -> bool:
        """Whether a position's rotation does not depend on the pass's other positions.

        In some models the largest position of a pass selects the frequencies.
        """
        ...

    def __call__(self, positions_T: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines, `TK` in fp32, of positions `T`."""
        ...


class RotationBuffers:
    """The rotations, by kind of layer, of a pass that a CUDA graph replays.

    A model that selects its frequencies by the largest position needs that number on the CPU, where a graph cannot copy
    it. So its rotations are computed before each pass, into buffers at fixed addresses. Other models compute rotations
    in the graph.

    Args:
        tables: the decoder's rotary tables, by kind of layer.
        positions_T: any positions, as many as the longest pass has tokens.

    """

    def __init__(self, tables: Mapping[str, RotaryTables], positions_T: Tensor) -> None:
        self._fixed = {kind: own for kind, own in tables.items() if own.is_fixed}
        self._others = {kind: own for kind, own in tables.items() if not own.is_fixed}
        self._buffers = {kind: Rotation.of(*own(positions_T)) for kind, own in self._others.items()}

    def fill(self, positions_T: Tensor) -> None:
        """Compute the rotations that a graph cannot compute, before a pass over these positions."""
        for kind, own in self._before(len(positions_T)).items():
            now = Rotation.of(*self._others[kind](positions_T))
            own.cos_T1K.copy_(now.cos_T1K)
            own.sin_T1K.copy_(now.sin_T1K)

    def rotations(self, positions_T: Tensor) -> dict[str, Rotation]:
        """All rotations of a pass; called within the graph."""
        in_graph = {kind: Rotation.of(*own(positions_T)) for kind, own in self._fixed.items()}
        return self._before(len(positions_T)) | in_graph

    def _before(self, tokens: int) -> dict[str, Rotation]:
        return {kind: Rotation(own.cos_T1K[:tokens], own.sin_T1K[:tokens]) for kind, own in self._buffers.items()}
