"""Reads the adapters of a generator, and compares their content with what was written: once, and after each change.

Comparing a large adapter takes as long as reading its files twice, during which no base generates a token if the
engine's thread does it. So another thread does it, before the adapter is loaded for a request or to be kept.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from tuningfork.artifacts.base import AdapterOfOtherWeights, ArtifactDamaged, ArtifactMissing, ArtifactStore
from tuningfork.artifacts.known_damage import FileStates, KnownDamage, states_of
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.errors import Unavailable
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.adapters.weights import AdapterWeights

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

_QUICK_BYTES = 4 * 2**20
"""Files of up to 4 MiB are compared on the engine's thread, in some ten milliseconds."""


@dataclass(slots=True)
class AdapterFiles:
    """The files of adapters in an artifact store. `compare` may be called from any thread.

    `quick_bytes` is how large files may be that are compared at once, see `is_quick`.
    """

    artifacts: ArtifactStore
    quick_bytes: int = _QUICK_BYTES
    _compared: KnownDamage = field(default_factory=KnownDamage)

    def read(self, adapter: ArtifactRef, base_fingerprint: str | None = None) -> AdapterWeights:
        """Read an adapter for a base whose weights have this fingerprint; None: it is not known.

        An adapter that does not say over which weights it was trained is taken.

        Raises:
            ArtifactMissing: there is none.
            ArtifactDamaged: its files are not those that were written.
            AdapterOfOtherWeights: it was trained over other weights.
            InvalidArgument: they hold no adapter that can be used.
            Unavailable: the system cannot read them at the moment.

        """
        try:
            self.compare(adapter)
            with self.artifacts.reading(adapter) as directory:
                known = adapter_format.base_fingerprint(directory)
                if None not in (known, base_fingerprint) and known != base_fingerprint:
                    raise AdapterOfOtherWeights
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
        """Compare an adapter's content with what was written, unless that was done and no file has changed since.

        Raises:
            ArtifactMissing, ArtifactDamaged: see `read`.
            OSError: the disk or the transport failed.

        """
        with self.artifacts.reading(adapter) as directory:
            states = states_of(directory)
        if self._compared.is_known(adapter, states):
            return
        try:
            with self.artifacts.reading(adapter, verified=True):
                self._note(adapter, states, None)
        except ArtifactDamaged as error:
            self._note(adapter, states, error)
            raise

    def _note(self, adapter: ArtifactRef, states: FileStates, damage: ArtifactDamaged | None) -> None:
        """Note what was found, unless the adapter was deleted meanwhile: `forget` may have been called before."""
        self._compared.note(adapter, states, damage)
        # Asked afterwards, since the adapter may be deleted and forgotten at any moment until it is noted.
        if not self.artifacts.has(adapter):
            self._compared.forget(adapter)

    def is_quick(self, adapter: ArtifactRef) -> bool:
        """Whether `read` compares nothing, or little: the adapter is small, was compared before, or cannot be read."""
        try:
            with self.artifacts.reading(adapter) as directory:
                states = states_of(directory)
            return sum(size for _, _, size, _ in states) <= self.quick_bytes or self._compared.is_known(adapter, states)
        except (ArtifactMissing, ArtifactDamaged, OSError):
            return True

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
            self._compared.forget(adapter)


def _unread(adapter: ArtifactRef, error: OSError) -> Unavailable:
    logger.warning("adapter %s cannot be read: %s", adapter, error, extra={"action": "adapter_unread"})
    return Unavailable("the tuned model's adapter cannot be read at the moment; please try again")
