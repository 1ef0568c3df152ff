"""The environment variables that configure the worker processes."""

import os
from collections.abc import Mapping
from pathlib import Path

from tuningfork.artifacts.base import ArtifactStore
from tuningfork.artifacts.local import LocalArtifactStore
from tuningfork.domain.base_model import WeightType
from tuningfork.execution.base import AdapterLimits
from tuningfork.logs.formats import LogFormat

THREADS_VARIABLE = "TUNINGFORK_WORKER_THREADS"
ARTIFACTS_VARIABLE = "TUNINGFORK_WORKER_ARTIFACTS"
ADAPTERS_VARIABLE = "TUNINGFORK_WORKER_ADAPTERS"
BYTES_VARIABLE = "TUNINGFORK_WORKER_ADAPTER_BYTES"
LOG_FORMAT_VARIABLE = "TUNINGFORK_WORKER_LOG_FORMAT"
SHORTCUTS_VARIABLE = "TUNINGFORK_WORKER_GPU_SHORTCUTS"
WEIGHTS_VARIABLE = "TUNINGFORK_WORKER_WEIGHTS"
RENDERING_VARIABLE = "TUNINGFORK_WORKER_RENDERING_SECONDS"
VARIABLES = (
    THREADS_VARIABLE,
    ARTIFACTS_VARIABLE,
    ADAPTERS_VARIABLE,
    BYTES_VARIABLE,
    SHORTCUTS_VARIABLE,
    WEIGHTS_VARIABLE,
    LOG_FORMAT_VARIABLE,
    RENDERING_VARIABLE,
)
"""The variables that only worker processes read."""

RENDERING_SECONDS = 10
"""How long a text may take to be rendered, in seconds of computing, besides what its length takes."""


def of_worker(
    threads: int,
    log_level: str,
    *,
    log_format: LogFormat = LogFormat.TEXT,
    gpu_shortcuts: bool = True,
    weights: WeightType = WeightType.STORED,
    rendering_seconds: int = RENDERING_SECONDS,
) -> dict[str, str]:
    """The environment variables of every worker.

    `threads`: torch's threads; for `gpu_shortcuts` and `weights` see `modeling.loading.load_base`.
    """
    return {
        THREADS_VARIABLE: str(threads),
        "TUNINGFORK_LOG_LEVEL": log_level,
        LOG_FORMAT_VARIABLE: log_format.value,
        SHORTCUTS_VARIABLE: "on" if gpu_shortcuts else "off",
        WEIGHTS_VARIABLE: weights.value,
        RENDERING_VARIABLE: str(rendering_seconds),
        "OMP_NUM_THREADS": str(threads),
        # Two busy workers share the cores: a waiting thread must sleep rather than spin.
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        **huge_pages(),
        # Matrix products on CUDA are reproducible only with a fixed workspace (cuBLAS documentation, section 2.1.4).
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }


def huge_pages() -> dict[str, str]:
    """The variable that makes glibc use huge pages, which speeds up memory access; it keeps the operator's tunables.

    A training step at SmolLM2-135M's shape takes 3 % less time (docs/log.md). Other C libraries ignore the variable.
    """
    tuned = [os.environ.get("GLIBC_TUNABLES", ""), "glibc.malloc.hugetlb=1"]
    return {"GLIBC_TUNABLES": ":".join(filter(None, tuned))}


def of_adapter_limits(adapter_limits: AdapterLimits) -> dict[str, str]:
    """The additional environment variables of the generator: the limits of adapters in memory."""
    size = "" if adapter_limits.bytes is None else str(adapter_limits.bytes)
    return {ADAPTERS_VARIABLE: str(adapter_limits.adapters), BYTES_VARIABLE: size}


def adapter_limits_in(environment: Mapping[str, str]) -> AdapterLimits:
    """The limits for adapters that this process's environment names."""
    adapters, size = environment.get(ADAPTERS_VARIABLE), environment.get(BYTES_VARIABLE)
    usual = AdapterLimits()
    return AdapterLimits(
        adapters=int(adapters) if adapters else usual.adapters, bytes=int(size) if size else usual.bytes
    )


def of_artifacts(root: Path) -> dict[str, str]:
    """The additional environment variables of a worker that uses the artifact store on this machine's disk."""
    return {ARTIFACTS_VARIABLE: str(root)}


def artifacts_in(environment: Mapping[str, str]) -> ArtifactStore:
    """The artifact store that this process's environment names."""
    return LocalArtifactStore(Path(environment[ARTIFACTS_VARIABLE]))
