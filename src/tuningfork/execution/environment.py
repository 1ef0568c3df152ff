"""What the server tells its workers as they start: variables of their environment, written here and read there."""

import os

from tuningfork.execution.base import AdapterRoom

ADAPTERS_VARIABLE = "TUNINGFORK_WORKER_ADAPTERS"
BYTES_VARIABLE = "TUNINGFORK_WORKER_ADAPTER_BYTES"
SHORTCUTS_VARIABLE = "TUNINGFORK_WORKER_GPU_SHORTCUTS"


def of_worker(threads: int, log_level: str, *, gpu_shortcuts: bool = True) -> dict[str, str]:
    """For any worker. `threads` are those that torch uses in it; see `modeling.shortcuts` for the others."""
    return {
        "TUNINGFORK_WORKER_THREADS": str(threads),
        "TUNINGFORK_LOG_LEVEL": log_level,
        SHORTCUTS_VARIABLE: "on" if gpu_shortcuts else "off",
        "OMP_NUM_THREADS": str(threads),
        # Two busy workers share the cores: a thread that waits must not spin on a core that the other could use.
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        **huge_pages(),
        # Matrix products on CUDA are reproducible only with a fixed workspace (cuBLAS documentation, section 2.1.4).
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }


def huge_pages() -> dict[str, str]:
    """Let glibc ask for large memory pages, beside what an operator tunes: weights and activations are read faster.

    A training step at SmolLM2-135M's shape takes 3 % less time (docs/log.md). Other C libraries ignore it.
    """
    tuned = [os.environ.get("GLIBC_TUNABLES", ""), "glibc.malloc.hugetlb=1"]
    return {"GLIBC_TUNABLES": ":".join(filter(None, tuned))}


def of_room(room: AdapterRoom) -> dict[str, str]:
    """For the generator besides."""
    size = "" if room.bytes is None else str(room.bytes)
    return {ADAPTERS_VARIABLE: str(room.adapters), BYTES_VARIABLE: size}
