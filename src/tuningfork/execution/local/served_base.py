"""A base model in a generator, with its engine and its adapters."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.base_model import BaseModel, BaseModelName
from tuningfork.domain.errors import TuningforkError
from tuningfork.execution.base import AdapterLimits
from tuningfork.execution.local import worker
from tuningfork.inference.adapter_pool import AdapterPool, PoolLimits
from tuningfork.inference.engine import InferenceEngine
from tuningfork.modeling.adapters.weights import AdapterWeights
from tuningfork.modeling.chat_template import Chat
from tuningfork.modeling.device.available_memory import available_memory
from tuningfork.modeling.loading import LoadedBase, load_base

logger = logging.getLogger(__name__)

_SHARE_OF_MEMORY = 8
_USUAL_BYTES = 2**30
"""The memory for adapters if the system does not report how much memory there is."""


@dataclass(slots=True)
class ServedBase:
    """One resident base with its engine and its adapters."""

    name: BaseModelName
    base: LoadedBase
    engine: InferenceEngine
    adapters: AdapterPool[ArtifactRef]

    def load_to_keep(self, adapter: ArtifactRef) -> None:
        """Load an adapter that is pinned."""
        try:
            self.adapters.load(adapter)
        except TuningforkError as error:
            # A request for this adapter will get the error.
            logger.error("an adapter cannot be kept: %s", error, extra={"action": "keep_failed"})  # noqa: TRY400


def serve_base(
    base: BaseModel,
    limits: AdapterLimits,
    *,
    chat: Chat | None,
    read: Callable[[ArtifactRef, str | None], AdapterWeights],
    on_change: Callable[[ArtifactRef, int | None], None],
) -> ServedBase:
    """Load a base for answering.

    Args:
        base: its catalog entry.
        limits: of its adapters.
        chat: renders its prompts; None: they are rendered in this process.
        read: reads an adapter for a base whose weights have this fingerprint.
        on_change: called with each adapter that is loaded, and its size in bytes, or unloaded (None).

    Raises:
        BaseUnusable: it cannot be loaded.

    """
    loaded = load_base(base, chat=chat, **worker.loading_options())
    engine = InferenceEngine(loaded)
    pool = AdapterPool(
        loaded.slots,
        _pool_limits(limits, loaded),
        read=lambda adapter: read(adapter, loaded.fingerprint),
        on_change=on_change,
        on_unload=engine.forget_adapter,
    )
    return ServedBase(base.name, loaded, engine, pool)


def _pool_limits(adapter_limits: AdapterLimits, base: LoadedBase) -> PoolLimits:
    if adapter_limits.bytes is not None:
        return PoolLimits(adapter_limits.adapters, adapter_limits.bytes)
    memory = available_memory(base.device)
    return PoolLimits(adapter_limits.adapters, memory.total_bytes // _SHARE_OF_MEMORY if memory else _USUAL_BYTES)
