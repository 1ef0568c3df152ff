"""Errors that mean that memory has run out are recognised, whoever raised them, and others are not."""

import errno

import pytest

from tuningfork.domain.exhaustion import OUT_OF_MEMORY, is_out_of_memory, reason_of

OURS = [
    MemoryError(),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    RuntimeError("can't start new thread"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("std::bad_alloc"),
    ImportError("libtorch_cpu.so: failed to map segment from shared object"),
]
OTHERS = [
    OSError(errno.ENOENT, "No such file or directory"),
    RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
    ModuleNotFoundError("No module named 'torch'"),
    ValueError("cannot allocate memory"),
]


@pytest.mark.parametrize("error", OURS, ids=str)
def test_an_error_for_lack_of_memory_says_what_to_do(error):
    assert is_out_of_memory(error)
    assert reason_of(error) == OUT_OF_MEMORY
    assert "ulimit -v" in OUT_OF_MEMORY


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_of_another_error_only_the_class_is_told_since_its_message_may_quote_a_prompt(error):
    assert not is_out_of_memory(error)
    assert reason_of(error) == type(error).__name__
