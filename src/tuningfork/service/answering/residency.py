"""Which tuned models have their adapters in the generator's memory: those in use, and those the operator has pinned."""

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.base_model import AdapterShape, BaseModel, Catalog
from tuningfork.domain.permission import Action, Principal
from tuningfork.domain.tuned_model import ModelState, TunedModelId
from tuningfork.execution.base import Generators, WorkerDied
from tuningfork.service.identity.keys import model_for
from tuningfork.service.tuning.checkpointing import adapter_of
from tuningfork.store import tuned_models, tuning_jobs
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database, Transaction

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Residence:
    """Whether a tuned model's adapter is in the generator's memory.

    `size_bytes` is the adapter's size in memory, None if it is not there. `pinned` says that the operator wants the
    adapter in memory whenever the model is ACTIVE. `shape` is the adapter's rank and alpha.
    """

    model_id: TunedModelId
    size_bytes: int | None
    pinned: bool
    shape: AdapterShape


class Residency:
    """Keeps the adapters of pinned models in the generator's memory, and those of deleted models out of it.

    Reports which adapters are there.

    Args:
        database: has the models.
        artifacts: have the models' adapters.
        catalog: has the bases that the models were tuned from.
        generators: hold the adapters in memory.
        pinned: ids of models whose adapters are kept in memory. A model of such an id may be created and deleted at
            any time.

    """

    def __init__(
        self,
        database: Database,
        artifacts: Artifacts,
        catalog: Catalog,
        generators: Generators,
        pinned: Collection[TunedModelId] = (),
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._catalog = catalog
        self._generators = generators
        self._pinned = frozenset(pinned)
        self._version: int | None = None
        self._kept: dict[BaseModel, frozenset[ArtifactRef]] = {}

    def refresh(self) -> None:
        """Tell the generator which adapters to pin, if they have changed, and which to forget.

        To be called often, from one thread only.
        """
        self._forget_deleted()
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
                self._generators.keep(base, adapters)
            except WorkerDied:
                # The server is closing, or the generator has just died: the next call tries again.
                logger.info("the generator could not be told what to keep", extra={"action": "keep_failed"})
                return
            self._kept[base] = adapters
        self._version = version

    def of(self, principal: Principal, model_id: TunedModelId) -> Residence:
        """Whether a model's adapter is in memory.

        Raises:
            NotFound: there is no such model.
            PermissionDenied: the caller may not read it.

        """
        with self._database.read() as connection:
            model_for(connection, principal, model_id, Action.GET)
            adapter = self._adapter_of(connection, model_id)
            shape = tuning_jobs.of_models(connection, [model_id])[model_id].adapter
        size = self._generators.resident_adapters().get(adapter)
        return Residence(model_id=model_id, size_bytes=size, pinned=model_id in self._pinned, shape=shape)

    def is_pinned(self, model_id: TunedModelId) -> bool:
        """Whether the operator wants the model's adapter in memory whenever the model is ACTIVE."""
        return model_id in self._pinned

    def _forget_deleted(self) -> None:
        """Forget adapters whose artifacts are gone: they would take memory until they are evicted."""
        resident = self._generators.resident_adapters()
        gone = [adapter for adapter in resident if not self._artifacts.store.has(adapter)]
        if gone:
            self._generators.forget(gone)

    def _wanted(self) -> dict[BaseModel, frozenset[ArtifactRef]]:
        wanted: dict[BaseModel, frozenset[ArtifactRef]] = {}
        with self._database.read() as connection:
            for model_id in sorted(self._pinned):
                model = tuned_models.find(connection, model_id)
                served = None if model is None else self._catalog.find(model.base_model, model.resolved_base)
                if model is None or served is None or model.state is not ModelState.ACTIVE:
                    continue
                adapters = wanted.get(served.base, frozenset())
                wanted[served.base] = adapters | {self._adapter_of(connection, model_id)}
        return wanted

    def _adapter_of(self, connection: Transaction, model_id: TunedModelId) -> ArtifactRef:
        return adapter_of(connection, self._artifacts, model_id)


class ResidentAdapters(Collector):
    """Counts the adapters in memory at every scrape. It gives no names, which not every scraper may know."""

    def __init__(self, generators: Generators, registry: CollectorRegistry) -> None:
        self._generators = generators
        registry.register(self)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The number of adapters in memory, and their total size in bytes."""
        sizes = self._generators.resident_adapters()
        yield GaugeMetricFamily(
            "tuningfork_generator_resident_adapters", "Tuned models that lie in the generator's memory.", len(sizes)
        )
        yield GaugeMetricFamily(
            "tuningfork_generator_resident_adapter_bytes", "What they take of it.", sum(sizes.values())
        )
