"""How much memory a device has left: the machine's, or its control group's where that is less, or a GPU's.

On Linux `MemAvailable` counts what other processes hold as taken, and the page cache, where memory-mapped weights lie,
as free: of two processes over one base the second sees what the first has taken, and shares the file with it.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

_MOST_RESERVE_BYTES = 2**30
_RESERVE_SHARE = 16
"""Kept free for everything else: a sixteenth of the whole, at most 1 GiB."""

_GROUP_FILES = {
    # Version of control groups: files of limits, file of use, and what of that is page cache (Linux's documentation).
    2: (("memory.max", "memory.high"), "memory.current", ("inactive_file", "active_file", "slab_reclaimable")),
    1: (("memory.limit_in_bytes",), "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
}


@dataclass(frozen=True, slots=True)
class Memory:
    """What there is: all of it, and what of it nobody uses. `whose` is its owner in words ("this machine")."""

    total_bytes: int
    free_bytes: int
    whose: str

    @property
    def reserve_bytes(self) -> int:
        """What is left to everybody else."""
        return min(_MOST_RESERVE_BYTES, self.total_bytes // _RESERVE_SHARE)

    @property
    def usable_bytes(self) -> int:
        """What a base may take; 0 where less than the reserve is free."""
        return max(0, self.free_bytes - self.reserve_bytes)


def available_memory(device: torch.device, *, root: Path = Path("/")) -> Memory | None:
    """The memory of this device as it is now; None where the system does not tell.

    Args:
        device: a CUDA device has its own; every other one is taken to compute in the machine's.
        root: where `proc` and `sys` are.

    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        # What torch has freed, it keeps for itself.
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return Memory(total, free + idle, f"the GPU {torch.cuda.get_device_name(device)}")
    machine = _machine(root)
    return machine and min(_groups(machine, root), default=machine, key=lambda memory: memory.free_bytes)


def _machine(root: Path) -> Memory | None:
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
        kibibytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        return Memory(kibibytes["MemTotal"] * 1024, kibibytes["MemAvailable"] * 1024, "this machine")
    except (OSError, ValueError, IndexError, KeyError):
        return _machine_by_pages()


def _machine_by_pages() -> Memory | None:
    """For systems without /proc; where free pages are not told, only what can never fit is known not to."""
    known = getattr(os, "sysconf_names", {})
    if not {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= set(known):
        return None
    page, pages = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
    free = os.sysconf("SC_AVPHYS_PAGES") if "SC_AVPHYS_PAGES" in known else pages
    return Memory(page * pages, page * free, "this machine")


def _groups(machine: Memory, root: Path) -> Iterator[Memory]:
    """The machine's memory as each control group that this process is in leaves it."""
    yield machine
    for directory, version in _group_directories(root):
        limits, used, cached = _GROUP_FILES[version]
        limit = min(filter(None, (_number(directory / name) for name in limits)), default=None)
        usage = _number(directory / used)
        if limit is None or usage is None or limit >= machine.total_bytes:
            continue
        taken = max(0, usage - _cache_bytes(directory / "memory.stat", cached))
        free = min(machine.free_bytes, max(0, limit - taken))
        yield replace(machine, total_bytes=limit, free_bytes=free, whose="this container or control group")


def _group_directories(root: Path) -> Iterator[tuple[Path, int]]:
    """Where the limits of this process's groups and of all groups above them may stand, and in whose form."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in {"", "memory"}:
            version, mount = (1, root / "sys/fs/cgroup/memory") if controllers else (2, root / "sys/fs/cgroup")
            # In a container the path may be the host's, and its own group is what is mounted.
            group = Path(path.lstrip("/"))
            yield from ((mount / above, version) for above in (group, *group.parents))


def _cache_bytes(path: Path, names: tuple[str, ...]) -> int:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.split()[0] in names)


def _number(path: Path) -> int | None:
    """The number in the file; None if there is no file, or it says `max`."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
