"""Loads the compiled library, once in a process."""

import ctypes
import logging
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path

from tuningfork.modeling.compiled import building

logger = logging.getLogger(__name__)


class Level(IntEnum):
    """The instructions that compiled functions may use; each level has those of the levels before."""

    PLAIN = 0
    AVX2 = 1
    """AVX2, FMA and F16C."""
    AVX512 = 2
    """AVX-512 F, BW, DQ and VL."""
    AVX512_BF16 = 3


@dataclass(frozen=True, slots=True)
class Library:
    """The loaded library. `level`: what the processor has, as far as `ATEN_CPU_CAPABILITY` permits it."""

    calls: ctypes.CDLL
    level: Level


@cache
def library() -> Library | None:
    """The library of this installation; None: it was built without one, or the library cannot be used here."""
    return load(building.LIBRARY)


def load(path: Path) -> Library | None:
    """The library in this file; None: there is none, or it cannot be used, and the log says why."""
    if not path.is_file():
        return None
    try:
        calls = ctypes.CDLL(str(path))
        calls.tf_sources.restype = ctypes.c_char_p
        calls.tf_processor_level.restype = ctypes.c_int
        compiled_from = calls.tf_sources().decode()
    except (OSError, AttributeError) as error:
        logger.warning("the compiled parts in %s cannot be loaded, so CPUs are slower: %s", path.name, error)
        return None
    if compiled_from != f"TF_SOURCES={building.digest()}":
        logger.warning(
            "the compiled parts in %s are of other sources than the package, so they are not used and CPUs are slower; "
            "install the package again (in a checkout: python hatch_build.py)",
            path.name,
        )
        return None
    return Library(calls, Level(calls.tf_processor_level()))
