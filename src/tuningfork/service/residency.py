"""Which tuned models lie in the generator's memory, and which of them the operator wants to stay there."""

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tuningfork.domain.base_model import BaseModel, Catalog
from tuningfork.domain.permission import Action, Principal
from tuningfork.domain.tuned_model import ModelState, TunedModelId
from tuningfork.execution.base import Executor, WorkerDied
from tuningfork.service.access import model_for
from tuningfork.store import tuned_models, tuning_jobs
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database, Transaction

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Residence:
    """Whether a tuned model answers without being loaded first. `size_bytes` is what it takes, None where it is not.

    `pinned` says that the operator wants it in memory whenever it is ACTIVE.
    """

    name: str
    size_bytes: int | None
    pinned: bool


class Residency:
    """Keeps the operator's models in memory, and says what is there.

    Args:
        database: where the models are.
        artifacts: where their adapters are.
        catalog: what they were tuned from.
        executor: holds them.
        pinned: ids of models to be kept in memory; they may come into being, and go, at any time.

    """

    def __init__(
        self,
        database: Database,
        artifacts: Artifacts,
        catalog: Catalog,
        executor: Executor,
        pinned: Collection[TunedModelId] = (),
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._catalog = catalog
        self._executor = executor
        self._pinned = frozenset(pinned)
        self._version: int | None = None
        self._kept: dict[BaseModel, frozenset[Path]] = {}

    def refresh(self) -> None:
        """Make what is kept in memory what should be now; costs nothing while nothing has changed. From one thread."""
        if not self._pinned:
            return
        version = self._database.version()
        if version is not None and version == self._version:
            return
        wanted = self._wanted()
        for base in {*wanted, *self._kept}:
            adapters = wanted.get(base, frozenset())
            if adapters == self._kept.get(base, frozenset()):
                continue
            try:
                self._executor.keep(base, adapters)
            except WorkerDied:
                # The server is closing, or the generator has just died: it is told again.
                logger.info("the generator could not be told what to keep", extra={"action": "keep_failed"})
                return
            self._kept[base] = adapters
        self._version = version

    def of(self, principal: Principal, model_id: TunedModelId) -> Residence:
        """Where a model is.

        Raises:
            NotFound: there is no such model.
            PermissionDenied: the caller may not read it.

        """
        with self._database.read() as connection:
            model = model_for(connection, principal, model_id, Action.GET)
            adapter = self._adapter_of(connection, model_id)
        sizes = self._executor.resident_adapters()
        return Residence(name=model.name, size_bytes=sizes.get(adapter), pinned=model_id in self._pinned)

    def _wanted(self) -> dict[BaseModel, frozenset[Path]]:
        wanted: dict[BaseModel, frozenset[Path]] = {}
        with self._database.read() as connection:
            for model_id in sorted(self._pinned):
                model = tuned_models.find(connection, model_id)
                served = None if model is None else self._catalog.find(model.base_model)
                if model is None or served is None or model.state is not ModelState.ACTIVE:
                    continue
                adapters = wanted.get(served.base, frozenset())
                wanted[served.base] = adapters | {self._adapter_of(connection, model_id)}
        return wanted

    def _adapter_of(self, connection: Transaction, model_id: TunedModelId) -> Path:
        return self._artifacts.adapter_directory(tuning_jobs.id_of_model(connection, model_id))


class ResidentAdapters(Collector):
    """Counts what is in memory at every scrape. Says no names: whoever scrapes may know none."""

    def __init__(self, executor: Executor, registry: CollectorRegistry) -> None:
        self._executor = executor
        registry.register(self)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The number of adapters and their size."""
        sizes = self._executor.resident_adapters()
        yield GaugeMetricFamily(
            "tuningfork_generator_resident_adapters", "Tuned models that lie in the generator's memory.", len(sizes)
        )
        yield GaugeMetricFamily(
            "tuningfork_generator_resident_adapter_bytes", "What they take of it.", sum(sizes.values())
        )
