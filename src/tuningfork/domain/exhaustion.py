"""Recognises the errors by which Python, torch or the system say that this process gets no more memory."""

import errno

OUT_OF_MEMORY = (
    "the system gave it no more memory. Give the machine or the container more, or raise the limit of the process "
    "(ulimit -v, LimitAS)"
)
"""The end of a sentence about a process, and what to do."""

_SIGNS = (
    "can't start new thread",
    "failed to map segment",
    "cannot allocate memory",
    "can't allocate memory",
    "not enough memory",
    "bad_alloc",
)
"""What the messages of Python, of the dynamic loader, of C++ and of torch have for it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error means that memory, or a thread for lack of memory, could not be had."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    # ModuleNotFoundError is an ImportError too, and names no such sign.
    is_of_a_library = isinstance(error, RuntimeError | ImportError | OSError)
    return is_of_a_library and any(sign in str(error).lower() for sign in _SIGNS)


def reason_of(error: Exception) -> str:
    """An unexpected error in words: what to do if it means that memory ran out, else only the error's class.

    Its message is left out, since it may quote a prompt or an example.
    """
    return OUT_OF_MEMORY if is_out_of_memory(error) else type(error).__name__
