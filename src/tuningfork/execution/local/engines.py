"""The trainers, generators and raters of one machine, built from a server's settings."""

import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tuningfork.domain.base_model import WeightType
from tuningfork.execution.base import AdapterLimits
from tuningfork.execution.local import environment
from tuningfork.execution.local.child import SILENCE_SECONDS
from tuningfork.execution.local.generators import LocalGenerators
from tuningfork.execution.local.raters import LocalRaters
from tuningfork.execution.local.trainers import LocalTrainers
from tuningfork.logs.formats import LogFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerThreads:
    """How many threads torch uses in each worker.

    With another number of trainer threads the last bits of a job's results may differ, since sums are split
    differently.
    """

    trainer: int
    generator: int
    rater: int | None = None
    """The rater's number of threads. None: the same as the generator's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalEngines:
    """Child processes of this machine, one of each role, started on demand and kept running."""

    trainers: LocalTrainers
    generators: LocalGenerators
    raters: LocalRaters

    @classmethod
    def build(
        cls,
        *,
        threads: WorkerThreads,
        artifacts: Path,
        log_level: str = "warning",
        log_format: LogFormat = LogFormat.TEXT,
        adapter_limits: AdapterLimits | None = None,
        gpu_shortcuts: bool = True,
        weights: WeightType = WeightType.STORED,
        silence_seconds: float = SILENCE_SECONDS,
        rendering_seconds: int = environment.RENDERING_SECONDS,
    ) -> "LocalEngines":
        """The engines for these settings; no process is started yet.

        `artifacts` is the root of the local store. A worker that does not answer for `silence_seconds` is replaced.
        A text may take `rendering_seconds` of computing to be rendered, see `execution/local/renderers.py`.
        """
        of_worker = partial(
            environment.of_worker,
            log_level=log_level,
            log_format=log_format,
            gpu_shortcuts=gpu_shortcuts,
            weights=weights,
            rendering_seconds=rendering_seconds,
        )
        return cls(
            trainers=LocalTrainers(
                of_worker(threads.trainer) | environment.of_artifacts(artifacts), silence_seconds=silence_seconds
            ),
            generators=LocalGenerators(
                of_worker(threads.generator)
                | environment.of_artifacts(artifacts)
                | environment.of_adapter_limits(adapter_limits or AdapterLimits()),
                silence_seconds=silence_seconds,
            ),
            raters=LocalRaters(
                of_worker(threads.generator if threads.rater is None else threads.rater),
                silence_seconds=silence_seconds,
            ),
        )

    def close(self) -> None:
        """End all workers, in parallel; running jobs keep their savepoints."""
        closing = [
            threading.Thread(target=role.close, name="close") for role in (self.trainers, self.generators, self.raters)
        ]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()

    @property
    def worker_pids(self) -> dict[str, int]:
        """The process ids of the running workers, by role."""
        roles = {"trainer": self.trainers, "generator": self.generators, "rater": self.raters}
        return {role: pid for role, child in roles.items() if (pid := child.pid) is not None}
