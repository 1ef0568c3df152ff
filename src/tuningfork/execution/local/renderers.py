"""The renderers of a worker: one for each base model that it has, so that a bad base stops no other."""

import importlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping

from tuningfork.domain.base_model import EMBEDDED, BaseModel, BaseModelName
from tuningfork.execution.local.environment import RENDERING_SECONDS, RENDERING_VARIABLE
from tuningfork.execution.local.forking import ForkServer
from tuningfork.execution.local.renderer import Renderer, RenderingLimits, unusable_prefix
from tuningfork.execution.local.renderer_process import serve
from tuningfork.modeling.device.free_memory import give_back

__all__ = ["Renderer", "Renderers", "RenderingLimits"]

logger = logging.getLogger(__name__)

_OF_ALL_BASES = ("transformers.generation.utils", "transformers.models.auto.tokenization_auto")
"""What reading any base imports. Imported before this process is copied, it is in memory once for all copies."""


class Renderers:
    """The renderers of a worker. Thread-safe."""

    def __init__(
        self, forks: ForkServer, limits: RenderingLimits | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._forks = forks
        self._limits = limits or RenderingLimits()
        self._monotonic = monotonic
        self._renderers: dict[BaseModel, Renderer] = {}
        self._lock = threading.Lock()

    @classmethod
    def of_this_process(cls, pipe: int, environment: Mapping[str, str]) -> "Renderers | None":
        """The renderers of a worker that has no other threads yet; `pipe` leads to its server. None: not on Linux."""
        if sys.platform != "linux":
            return None
        seconds = int(environment.get(RENDERING_VARIABLE, RENDERING_SECONDS))
        limits = RenderingLimits(open_seconds=3 * seconds, call_seconds=seconds)
        for name in _OF_ALL_BASES:
            importlib.import_module(name)
        # What is free now would be held three times, by this process and by those that are copies of it.
        give_back()
        return cls(ForkServer(serve, closed_there=[pipe], on_loss=_end_worker), limits)

    def is_ready(self, base: BaseModel) -> bool:
        """Whether `chat_of` returns at once. The base of this package needs no renderer."""
        with self._lock:
            return base.location == EMBEDDED or (base in self._renderers and self._renderers[base].is_open)

    def chat_of(self, base: BaseModel) -> "Renderer | None":
        """The base's renderer, whose process has read the base's files; None: it needs none.

        Raises:
            BaseUnusable: the base cannot be used, or it was found so lately.

        """
        if base.location == EMBEDDED:
            return None
        with self._lock:
            renderer = self._renderers.setdefault(base, Renderer(base, self._forks, self._limits, self._monotonic))
        renderer.open()
        return renderer

    def close(self, base: BaseModel) -> None:
        """End the base's process, without waiting for a text that it renders; the next call starts another."""
        with self._lock:
            renderer = self._renderers.get(base)
        if renderer is not None:
            renderer.close()

    @property
    def refused(self) -> Mapping[BaseModelName, str]:
        """The bases that are refused, and why."""
        with self._lock:
            known = {base: each.refusal.removeprefix(unusable_prefix(base)) for base, each in self._renderers.items()}
        return {base.name: reason for base, reason in known.items() if reason}


def _end_worker() -> None:
    """End this process, which cannot start renderers any more; the server starts another in its place."""
    logger.critical("the process that starts renderers has ended, so this one ends too", extra={"action": "forks_lost"})
    logging.shutdown()
    os._exit(1)
