"""The protocol of artifact stores."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.errors import InternalError, NotFound


class ArtifactMissing(NotFound):
    """There is no complete artifact of this reference."""

    def __init__(self, ref: ArtifactRef) -> None:
        super().__init__(f"there is no artifact {ref}")
        self._ref = ref

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self._ref,)


class ArtifactDamaged(InternalError):
    """An artifact's files differ from those that its manifest names."""


class AdapterOfOtherWeights(ArtifactDamaged):
    """An adapter is whole, and was trained over other weights than its base model has now."""

    def __init__(self) -> None:
        super().__init__("the adapter was trained over other weights than its base model has now")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), ()


class ArtifactStore(Protocol):
    """Keeps artifacts: each is written whole, then read any number of times. Thread-safe.

    An artifact exists once its manifest does, which is written after all its files have reached the disk.
    """

    def reading(self, ref: ArtifactRef, *, verified: bool = False) -> AbstractContextManager[Path]:
        """The artifact's file or directory on the local disk, for the `with` block. It must not be changed.

        `verified`: the content of all files is compared with what was written, not only their sizes.

        Raises:
            ArtifactMissing: there is no such artifact, or it was never completed.
            ArtifactDamaged: a file is missing, or differs from what was written.
            OSError: the disk or the transport failed.

        """
        ...

    def writing(self, ref: ArtifactRef) -> AbstractContextManager[Path]:
        """A path on the local disk at which the caller creates the artifact, as a file or as a directory.

        At the end of the `with` block the artifact is complete and durable, and replaces an earlier one. If the block
        raises, nothing of it remains.

        Raises:
            OSError: the disk or the transport failed.

        """
        ...

    def refs_below(self, ref: ArtifactRef) -> Sequence[ArtifactRef]:
        """The complete artifacts directly below a reference, sorted by key."""
        ...

    def has(self, ref: ArtifactRef) -> bool:
        """Whether there is a complete artifact of this reference."""
        ...

    def delete(self, ref: ArtifactRef) -> None:
        """Remove the artifact and all artifacts below it; no error if there are none."""
        ...
