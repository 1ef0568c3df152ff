"""Reads the adapters of a generator, and compares their content with what was written: once, and after each change.

Comparing takes as long as reading a file twice, during which no base generates a token if the engine's thread does it.
So the thread that prepares a request does it first.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tuningfork.artifacts.base import ArtifactDamaged, ArtifactMissing, ArtifactStore
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.errors import Unavailable
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.adapters.weights import AdapterWeights

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
_State = tuple[tuple[str, int, int, int], ...]


@dataclass(slots=True)
class AdapterFiles:
    """The files of adapters in an artifact store. `compare` may be called from any thread."""

    artifacts: ArtifactStore
    _compared: dict[ArtifactRef, _State] = field(default_factory=dict)
    """The adapters whose content was right, each with the state that its files had then."""

    def read(self, adapter: ArtifactRef) -> AdapterWeights:
        """Read an adapter.

        Raises:
            ArtifactMissing: there is none.
            ArtifactDamaged: its files are not those that were written.
            InvalidArgument: they hold no adapter that can be used.
            Unavailable: the system cannot read them at the moment.

        """
        try:
            self.compare(adapter)
            with self.artifacts.reading(adapter) as directory:
                return adapter_format.load(directory)
        except OSError as error:
            raise _unread(adapter, error) from error
        except adapter_format.AdapterUnreadable as error:
            cause = error.__cause__
            # The content was right a moment ago, so this passes, unless a file is lacking that was never written.
            if isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError):
                raise _unread(adapter, cause) from error
            raise

    def compare(self, adapter: ArtifactRef) -> None:
        """Compare an adapter's content with what was written, unless it was right and has not changed since.

        Raises:
            ArtifactMissing, ArtifactDamaged: see `read`.
            OSError: the disk or the transport failed.

        """
        with self.artifacts.reading(adapter) as directory:
            state = _state_of(directory)
        if self._compared.get(adapter) != state:
            with self.artifacts.reading(adapter, verified=True):
                self._compared[adapter] = state

    def comparing(self, adapter: ArtifactRef | None, work: Callable[[], Result]) -> Callable[[], Result]:
        """A function that does this work, and compares the adapter before; what is wrong with it, `read` tells."""

        def both() -> Result:
            if adapter is not None:
                try:
                    self.compare(adapter)
                except (ArtifactMissing, ArtifactDamaged, OSError) as error:
                    logger.debug("adapter %s cannot be read: %s", adapter, error)
            return work()

        return both

    def forget(self, adapters: Iterable[ArtifactRef]) -> None:
        """Forget adapters that were deleted."""
        for adapter in adapters:
            self._compared.pop(adapter, None)


def _state_of(directory: Path) -> _State:
    """What changes if a file is written or replaced."""
    states = ((file.name, file.stat()) for file in sorted(directory.iterdir()))
    return tuple((name, found.st_ino, found.st_size, found.st_mtime_ns) for name, found in states)


def _unread(adapter: ArtifactRef, error: OSError) -> Unavailable:
    logger.warning("adapter %s cannot be read: %s", adapter, error, extra={"action": "adapter_unread"})
    return Unavailable("the tuned model's adapter cannot be read at the moment; please try again")
