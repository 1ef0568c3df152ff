"""What a conversion makes of a file's tensors: each of the model's tensors, and the rows of the file it comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.files.gguf.header import StoredTensor


class Change(StrEnum):
    """What llama.cpp's converter did to a tensor, and this conversion undoes."""

    NONE = "none"
    HALVES = "halves"
    """The rows of a head alternate between its halves, since llama.cpp rotates neighbours and transformers halves."""
    SHIFTED = "shifted"
    """One was added, since llama.cpp multiplies with the weight of a norm, and Gemma with one more than it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One tensor of the model.

    `source` None: it is all zeros, as a bias that the file lacks and transformers' class has. `first_row`: where its
    rows begin in the source, which may hold several tensors.
    """

    name: str
    shape: tuple[int, ...]
    source: StoredTensor | None
    change: Change = Change.NONE
    heads: int = 1
    first_row: int = 0


@dataclass(slots=True)
class Plan:
    """The tensors of a file, and what becomes of them; in the end each must be used."""

    file: Path
    tensors: Mapping[str, StoredTensor]
    parts: list[Part] = field(default_factory=list)
    _used: set[str] = field(default_factory=set)

    def has(self, name: str) -> bool:
        """Whether the file has this tensor."""
        return name in self.tensors

    def has_any(self, suffixes: Sequence[str]) -> bool:
        """Whether the file has a tensor with one of these ends, in any layer."""
        return any(name.endswith(tuple(suffixes)) for name in self.tensors)

    def take(self, name: str, shape: Sequence[int]) -> StoredTensor:
        """A tensor of the file, which counts as used.

        Raises:
            BaseUnusable: the file lacks it, or it has another shape.

        """
        found = self.tensors.get(name)
        if found is None:
            raise BaseUnusable(f"it lacks the tensor {name!r}")
        if found.shape != tuple(shape):
            raise BaseUnusable(
                f"its tensor {name!r} has the shape {list(found.shape)}, where its metadata says {list(shape)}"
            )
        self._used.add(name)
        return found

    def add(
        self, target: str, source: str, shape: Sequence[int], change: Change = Change.NONE, *, heads: int = 1
    ) -> None:
        """Let a tensor of the file become one of the model."""
        self.parts.append(
            Part(name=target, shape=tuple(shape), source=self.take(source, shape), change=change, heads=heads)
        )

    def add_or_zeros(
        self, target: str, source: str, shape: Sequence[int], change: Change = Change.NONE, *, heads: int = 1
    ) -> None:
        """The same; without this tensor in the file the model's is all zeros."""
        if self.has(source):
            self.add(target, source, shape, change, heads=heads)
        else:
            self.parts.append(Part(name=target, shape=tuple(shape), source=None))

    def add_slices(self, targets: Mapping[str, int], source: str, columns: Sequence[int]) -> None:
        """Let a tensor's rows become several of the model's, of so many rows each, in this order."""
        stored = self.take(source, (sum(targets.values()), *columns))
        first = 0
        for target, rows in targets.items():
            self.parts.append(Part(name=target, shape=(rows, *columns), source=stored, first_row=first))
            first += rows

    def refuse_others(self) -> None:
        """Refuse the file if tensors are left that have become nothing.

        Raises:
            BaseUnusable: there are such tensors; the message names some.

        """
        left = [name for name in self.tensors if name not in self._used]
        if left:
            raise BaseUnusable(
                f"it has tensors that its architecture does not have here, such as {', '.join(map(repr, left[:3]))} "
                f"({len(left)} in all): answers would be wrong without them"
            )
