import ctypes
import platform
import sys
from pathlib import Path

import pytest

from tuningfork.modeling.device.free_memory import give_back

BLOCKS, BLOCK_BYTES = 1_000, 100_000


def resident_bytes():
    fields = Path("/proc/self/smaps_rollup").read_text().split("Rss:")[1].split()
    return int(fields[0]) * 1024


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="glibc alone keeps and gives")
def test_what_lies_free_below_memory_in_use_goes_back_to_the_system():
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    library.free.argtypes = [ctypes.c_void_p]
    library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    blocks = [library.malloc(BLOCK_BYTES) for _ in range(BLOCKS)]
    for block in blocks:
        library.memset(block, 1, BLOCK_BYTES)
    above = library.malloc(BLOCK_BYTES)
    for block in blocks:
        library.free(block)
    before = resident_bytes()

    give_back()

    assert before - resident_bytes() > BLOCKS * BLOCK_BYTES / 2
    library.free(above)
