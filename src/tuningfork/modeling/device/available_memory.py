"""How much memory is free: a GPU's, or the machine's (the control group's, if that is less).

On Linux `MemAvailable` counts the memory of other processes as used, and the page cache, which holds memory-mapped
weights, as free. So if two processes load the same base, the second counts the first one's own memory as used, and the
weights file that both map as free.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

_MOST_RESERVE_BYTES = 2**30
_RESERVE_SHARE = 16
"""One part in this many of the memory is left free for other programs, at most 1 GiB."""

_GROUP_FILES = {
    # By cgroup version: files of limits, file of usage, and the entries of the usage that are page cache (Linux's
    # documentation).
    2: (("memory.max", "memory.high"), "memory.current", ("inactive_file", "active_file", "slab_reclaimable")),
    1: (("memory.limit_in_bytes",), "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
}


@dataclass(frozen=True, slots=True)
class Memory:
    """How much memory there is, and how much of it is free. `whose` is for messages, such as "this machine"."""

    total_bytes: int
    free_bytes: int
    whose: str

    @property
    def reserve_bytes(self) -> int:
        """The memory to leave free for other programs."""
        return min(_MOST_RESERVE_BYTES, self.total_bytes // _RESERVE_SHARE)

    @property
    def most_bytes(self) -> int:
        """The memory that could be had if nothing else were in it."""
        return self.total_bytes - self.reserve_bytes

    @property
    def usable_bytes(self) -> int:
        """The memory that a base may take; 0 where less than the reserve is free."""
        return max(0, self.free_bytes - self.reserve_bytes)


def available_memory(device: torch.device, *, root: Path = Path("/")) -> Memory | None:
    """The memory of this device at this moment; None if the system does not report it.

    Args:
        device: a CUDA device has its own memory; for every other device, the machine's memory counts.
        root: the directory that holds `proc` and `sys`.

    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        # Memory that torch has freed stays in its own pool, and can be used again.
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return Memory(total, free + idle, f"the GPU {torch.cuda.get_device_name(device)}")
    machine = _machine(root)
    return machine and min(_limits(machine, root), default=machine, key=lambda memory: memory.free_bytes)


def _machine(root: Path) -> Memory | None:
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
        kibibytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        return Memory(kibibytes["MemTotal"] * 1024, kibibytes["MemAvailable"] * 1024, "this machine")
    except (OSError, ValueError, IndexError, KeyError):
        return _machine_by_pages()


def _machine_by_pages() -> Memory | None:
    """For systems without /proc. If the system does not report free pages, all memory counts as free."""
    known = getattr(os, "sysconf_names", {})
    if not {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= set(known):
        return None
    page, pages = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
    free = os.sysconf("SC_AVPHYS_PAGES") if "SC_AVPHYS_PAGES" in known else pages
    return Memory(page * pages, page * free, "this machine")


def _limits(machine: Memory, root: Path) -> Iterator[Memory]:
    """The machine's memory; then what is within each limit of this process: of its address space, of control groups."""
    yield machine
    space = _address_space(root)
    if space is not None:
        yield replace(space, free_bytes=min(machine.free_bytes, space.free_bytes))
    yield from _groups(machine, root)


def _address_space(root: Path) -> Memory | None:
    """What `ulimit -v` leaves to this process; None: no limit. Mapped files count, also parts that are never read."""
    try:
        limits = (root / "proc/self/limits").read_text(encoding="ascii").splitlines()
        status = (root / "proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    words = next((line.split() for line in limits if line.startswith("Max address space ")), [])
    used = next((line.split() for line in status if line.startswith("VmSize:")), [])
    if len(words) < 4 or not words[3].isdecimal() or len(used) < 2:
        return None
    limit = int(words[3])
    return Memory(limit, max(0, limit - int(used[1]) * 1024), "this process (ulimit -v)")


def _groups(machine: Memory, root: Path) -> Iterator[Memory]:
    """For each control group of this process with a limit: the memory within that limit."""
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
    """The directories that may hold the limits of this process's groups and their parents, with the cgroup version."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in {"", "memory"}:
            version, mount = (1, root / "sys/fs/cgroup/memory") if controllers else (2, root / "sys/fs/cgroup")
            # In a container the path may be the host's, while the mount shows the container's own group.
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
