"""The use case of looking at a server's engines, for whoever runs the server."""

from collections.abc import Callable, Mapping

from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.engine_report import EngineReport, ResidentAdapter
from tuningfork.domain.operations import DiskUse
from tuningfork.domain.operators import Operators
from tuningfork.domain.permission import Principal
from tuningfork.domain.server_paths import without_directories
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import Generators
from tuningfork.service.answering.residency import Residency
from tuningfork.service.metrics import Metrics
from tuningfork.service.operating.throughput import Throughput
from tuningfork.service.recent_errors import RecentErrors
from tuningfork.service.tuning.speeds import Speeds
from tuningfork.store import engine_loads
from tuningfork.store.database import Database


class Engines:
    """Reports what the engines hold and do.

    Attributes:
        errors: counts those of the last day.
        throughput: what was done in each minute.

    Args:
        database: has the jobs.
        generators: hold adapters in memory.
        residency: which of them are pinned.
        speeds: of training.
        metrics: count tokens.
        errors: of the last day.
        throughput: of the last hour.
        memory: the resident memory of the server's processes, by role.
        disk: what the server keeps on its disk.
        operators: who may look.

    """

    def __init__(
        self,
        database: Database,
        generators: Generators,
        residency: Residency,
        speeds: Speeds,
        metrics: Metrics,
        errors: RecentErrors,
        throughput: Throughput,
        *,
        memory: Callable[[], Mapping[str, int]],
        disk: Callable[[], DiskUse],
        operators: Operators,
    ) -> None:
        self._database = database
        self._generators = generators
        self._residency = residency
        self._speeds = speeds
        self._metrics = metrics
        self.errors = errors
        self.throughput = throughput
        self._memory = memory
        self._disk = disk
        self._operators = operators

    def report(self, principal: Principal) -> EngineReport:
        """What the engines of this server hold and do now.

        Raises:
            PermissionDenied: the caller does not run the server.

        """
        self._operators.check(principal, "look at its engines")
        resident = self._generators.resident_adapters()
        with self._database.read() as connection:
            jobs = engine_loads.in_training(connection)
            owners = engine_loads.jobs_by_owner(connection)
            models = engine_loads.models_of(connection, [_job_of(adapter) for adapter in resident])
        adapters = [
            ResidentAdapter(
                model_id=(model_id := models.get(_job_of(adapter))),
                size_bytes=size,
                pinned=model_id is not None and self._residency.is_pinned(model_id),
            )
            for adapter, size in resident.items()
        ]
        refused = self._generators.refused_bases()
        return EngineReport(
            memory=self._memory(),
            jobs=jobs,
            speeds=self._speeds.all_tokens_per_second(),
            adapters=tuple(sorted(adapters, key=lambda each: -each.size_bytes)),
            refused_bases={base: without_directories(why) for base, why in refused.items()},
            prompt_tokens=self._metrics.prompt_tokens.total,
            output_tokens=self._metrics.output_tokens.total,
            owners=owners,
            errors=self.errors.of_last_day(),
            minutes=self.throughput.of_last_hour(),
            disk=self._disk(),
        )


def _job_of(adapter: ArtifactRef) -> JobId:
    """The job that made an adapter, which is the second part of its reference (`store/artifacts.py`)."""
    return JobId(f"{adapter.key}/".split("/")[1])
