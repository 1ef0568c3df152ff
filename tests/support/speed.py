"""How slow this machine is, so that limits of processor time mean the same everywhere."""

import time

_REFERENCE_SECONDS = 0.0135
"""What `_work` takes on the machine on which the limits were set: one AMD EPYC core (Zen 3)."""


def slowness() -> float:
    """How many times longer than that machine this one computes just now; 1 for one that is faster.

    A processor that is shared computes less in the same processor time, since its caches are shared too.
    """
    return max(1.0, max(_seconds() for _ in range(3)) / _REFERENCE_SECONDS)


def _seconds() -> float:
    began = time.process_time()
    _work()
    return time.process_time() - began


def _work() -> None:
    """What Python programs do: numbers, texts, dictionaries."""
    found: dict[str, int] = {}
    for number in range(100_000):
        word = f"{number % 1_000}"
        found[word] = found.get(word, 0) + len(word)
