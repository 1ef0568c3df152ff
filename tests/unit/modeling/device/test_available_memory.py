import os
import sys

import pytest
import torch

from tuningfork.modeling.device.available_memory import Memory, available_memory

CPU = torch.device("cpu")
GIB = 2**30


@pytest.fixture
def machine(tmp_path):
    """A root directory of a machine with 16 GiB, 12 of them free, to which control groups can be added."""
    write(tmp_path, "proc/meminfo", f"MemTotal: {16 * 2**20} kB\nMemFree: 1 kB\nMemAvailable: {12 * 2**20} kB\n")
    return tmp_path


def write(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(text))


def group_2(root, path, *, limit, used=0, cached=0, high="max"):
    directory = f"sys/fs/cgroup/{path}"
    write(root, f"{directory}/memory.max", f"{limit}\n")
    write(root, f"{directory}/memory.high", f"{high}\n")
    write(root, f"{directory}/memory.current", f"{used}\n")
    write(root, f"{directory}/memory.stat", f"anon 5\ninactive_file {cached}\nactive_file 0\nslab_reclaimable 0\n")


def group_1(root, path, *, limit, used=0, cached=0):
    directory = f"sys/fs/cgroup/memory/{path}"
    write(root, f"{directory}/memory.limit_in_bytes", f"{limit}\n")
    write(root, f"{directory}/memory.usage_in_bytes", f"{used}\n")
    write(root, f"{directory}/memory.stat", f"cache 9\ntotal_inactive_file {cached}\ntotal_active_file 0\n")


def test_without_a_limit_it_is_what_the_machine_has_available(machine):
    assert available_memory(CPU, root=machine) == Memory(16 * GIB, 12 * GIB, "this machine")


def test_a_reserve_is_left_to_others(machine):
    assert available_memory(CPU, root=machine).usable_bytes == 11 * GIB
    assert Memory(16 * 2**20, 10 * 2**20, "").usable_bytes == 9 * 2**20
    assert Memory(16 * GIB, GIB // 2, "").usable_bytes == 0


def test_the_limit_of_a_control_group_holds(machine):
    write(machine, "proc/self/cgroup", "0::/service/one\n")
    group_2(machine, "service/one", limit=4 * GIB, used=1 * GIB)

    memory = available_memory(CPU, root=machine)

    assert (memory.total_bytes, memory.free_bytes) == (4 * GIB, 3 * GIB)
    assert "container" in memory.whose


def test_page_cache_of_a_group_is_not_taken(machine):
    write(machine, "proc/self/cgroup", "0::/service\n")
    group_2(machine, "service", limit=4 * GIB, used=4 * GIB, cached=3 * GIB)

    assert available_memory(CPU, root=machine).free_bytes == 3 * GIB


def test_the_limit_of_a_group_above_holds(machine):
    write(machine, "proc/self/cgroup", "0::/slice/one\n")
    group_2(machine, "slice", limit=3 * GIB, used=2 * GIB)
    group_2(machine, "slice/one", limit="max", used=1 * GIB)

    assert available_memory(CPU, root=machine).free_bytes == 1 * GIB


def test_a_group_that_is_slowed_down_before_its_limit_is_full_there(machine):
    write(machine, "proc/self/cgroup", "0::/service\n")
    group_2(machine, "service", limit=4 * GIB, high=2 * GIB, used=1 * GIB)

    assert available_memory(CPU, root=machine).free_bytes == 1 * GIB


def test_the_older_kind_of_group_holds_too(machine):
    write(machine, "proc/self/cgroup", "5:devices:/x\n4:memory:/service\n0::/\n")
    group_1(machine, "service", limit=2 * GIB, used=2 * GIB, cached=1 * GIB)

    assert available_memory(CPU, root=machine).free_bytes == 1 * GIB


@pytest.mark.parametrize("lines", ["4:memory:/docker/0123abcd\n", "0::/docker/0123abcd\n"])
def test_in_a_container_the_group_is_what_is_mounted(machine, lines):
    write(machine, "proc/self/cgroup", lines)
    (group_1 if "memory" in lines else group_2)(machine, ".", limit=2 * GIB, used=GIB)

    assert available_memory(CPU, root=machine).free_bytes == GIB


@pytest.mark.parametrize("limit", ["max", 2**63 - 4096])
def test_a_limit_that_is_none_changes_nothing(machine, limit):
    write(machine, "proc/self/cgroup", "4:memory:/\n0::/\n")
    group_1(machine, ".", limit=limit, used=15 * GIB)
    group_2(machine, ".", limit=limit, used=15 * GIB)

    assert available_memory(CPU, root=machine).free_bytes == 12 * GIB


def test_a_group_cannot_have_more_than_the_machine(machine):
    write(machine, "proc/self/cgroup", "0::/service\n")
    group_2(machine, "service", limit=14 * GIB)

    assert available_memory(CPU, root=machine).free_bytes == 12 * GIB


@pytest.mark.skipif("SC_AVPHYS_PAGES" not in os.sysconf_names, reason="the system tells no free pages")
def test_a_system_without_proc_tells_its_pages(tmp_path):
    memory = available_memory(CPU, root=tmp_path)

    assert memory.total_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < memory.free_bytes < memory.total_bytes


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_this_very_machine_is_found():
    memory = available_memory(CPU)

    assert 0 < memory.free_bytes < memory.total_bytes
    # Nothing, where others have left less than the reserve.
    assert 0 <= memory.usable_bytes < memory.free_bytes


@pytest.mark.gpu
def test_a_gpu_tells_its_own_memory():
    device = torch.device("cuda", 0)
    before = available_memory(device)
    held = torch.zeros(2**28, dtype=torch.uint8, device=device)
    after = available_memory(device)

    assert before.free_bytes - after.free_bytes >= held.numel()
    del held
    # What torch keeps for itself is free to it.
    assert available_memory(device).free_bytes - after.free_bytes >= 2**28


def limit_address_space(root, limit, *, used):
    write(root, "proc/self/limits", f"Max address space         {limit}            unlimited            bytes     \n")
    write(root, "proc/self/status", f"Name:\tpython3\nVmPeak:\t  9 kB\nVmSize:\t  {used // 1024} kB\n")


def test_a_limit_of_address_space_holds(machine):
    limit_address_space(machine, 3 * GIB, used=2 * GIB)

    memory = available_memory(CPU, root=machine)

    assert memory == Memory(3 * GIB, 1 * GIB, "this process (ulimit -v)")


def test_a_limit_of_address_space_above_what_is_free_changes_nothing(machine):
    limit_address_space(machine, 100 * GIB, used=2 * GIB)

    assert available_memory(CPU, root=machine).free_bytes == 12 * GIB


@pytest.mark.parametrize("limit", ["unlimited", ""])
def test_without_a_limit_of_address_space_the_machines_memory_counts(machine, limit):
    limit_address_space(machine, limit, used=2 * GIB)

    assert available_memory(CPU, root=machine).whose == "this machine"
