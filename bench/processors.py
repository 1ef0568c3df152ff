"""The kinds of processor whose figures stand side by side in `docs/performance.md`.

A processor with AVX-512 can be held to AVX2 by three variables of the environment, one for each library that chooses
its own instructions. Its figures are those of an emulated kind: its caches and its memory are not those of a laptop.
"""

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

GPU, BFLOAT16, AVX512, AVX2, AVX2_EMULATED, OTHER = "gpu", "bfloat16", "avx512", "avx2", "avx2-emulated", "other"
TITLES = {
    BFLOAT16: "bfloat16",
    AVX512: "AVX-512, no bfloat16",
    AVX2: "AVX2 only",
    AVX2_EMULATED: "AVX2 only (emulated)",
    OTHER: "other processors",
    GPU: "GPU",
}
"""By kind, in the page's order. BFLOAT16: with bfloat16 products (AVX-512 BF16, AMX, Arm BF16)."""

EMULATING = {"MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
"""The variables that hold MKL, oneDNN and torch to AVX2."""
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "bf16")
"""The flags of processors that say which kind it is."""


def cpuinfo() -> dict[str, str]:
    """What Linux says of the last of its processors; elsewhere nothing."""
    file = Path("/proc/cpuinfo")
    if not file.exists():
        return {}
    lines = (line.partition(":") for line in file.read_text(encoding="utf-8").splitlines())
    return {key.strip(): value.strip() for key, _, value in lines if value}


def facts() -> dict[str, Any]:
    """The processor of this machine, and what of it this environment lets be used."""
    said = cpuinfo()
    found: dict[str, Any] = {"cpu": said.get("model name", platform.processor() or platform.machine())}
    if said:
        found |= {"family": said.get("cpu family", ""), "model": said.get("model", "")}
        present = said.get("flags", said.get("Features", "")).split()
        found["flags"] = [flag for flag in FLAGS if flag in present]
    if held := limits():
        found["limits"] = held
    return found


def limits(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Those variables that hold libraries to older instructions, as they are set."""
    return {name: environment[name] for name in EMULATING if name in environment}


def kind_of(machine: Mapping[str, Any]) -> str:
    """The kind of a machine, of whose facts `accelerator`, `flags` and `limits` are used.

    Raises:
        ValueError: some of its libraries are held to AVX2 and some are not, so that it is of no kind.

    """
    if machine.get("accelerator"):
        return GPU
    flags = set(machine.get("flags", ()))
    held = machine.get("limits") or {}
    if held and "avx512f" in flags:
        if {name: value.lower() for name, value in held.items()} != {name: v.lower() for name, v in EMULATING.items()}:
            wanted = " ".join(f"{name}={value}" for name, value in EMULATING.items())
            raise ValueError(f"this environment has {held}; to emulate AVX2 set all of {wanted}, or none of them")
        return AVX2_EMULATED
    if flags & {"avx512_bf16", "amx_bf16", "bf16"}:
        return BFLOAT16
    if "avx512f" in flags:
        return AVX512
    return AVX2 if "avx2" in flags else OTHER


def shown(kinds: Mapping[str, Any]) -> list[str]:
    """Those of the kinds that the page shows, in its order: an emulated kind only where there is no real one."""
    return [kind for kind in TITLES if kind in kinds and not (kind == AVX2_EMULATED and AVX2 in kinds)]
