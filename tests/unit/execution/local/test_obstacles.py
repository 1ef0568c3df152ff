"""How long a job waits that its trainer cannot take up at the moment."""

import pytest

from tuningfork.domain.errors import Code
from tuningfork.execution.local.obstacles import MEMORY_PATIENCE_SECONDS, Obstacle, Waits
from tuningfork.modeling.memory_plan import BaseMemoryShort, MemoryShort

SHORT = MemoryShort("an adapter of rank 8 takes 2.0 GiB of memory, and 1.0 GiB can be had at the moment")


class Seconds:
    now = 100.0

    def __call__(self):
        return self.now


def waited(waits, error, *, patient, seconds):
    """The waits of a job until it is given up, and for how many seconds it waited in all; at most so many seconds."""
    found = []
    while sum(found) < seconds and (next_wait := waits.next("a", error, patient=patient)) is not None:
        found.append(next_wait)
        waits.monotonic.now += next_wait
    return found


def test_each_wait_is_twice_as_long_as_the_one_before_up_to_a_minute():
    assert waited(Waits(monotonic=Seconds()), SHORT, patient=True, seconds=180) == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize("error", [SHORT, BaseMemoryShort("base model models/x needs 9 GiB of memory")])
def test_a_job_that_waits_for_memory_beside_nobody_is_given_up_in_the_end(error):
    waits = Waits(monotonic=Seconds())

    total = sum(waited(waits, error, patient=False, seconds=10 * MEMORY_PATIENCE_SECONDS))

    assert MEMORY_PATIENCE_SECONDS <= total < MEMORY_PATIENCE_SECONDS + 60
    failed = waits.given_up(error)
    assert failed.code in (Code.UNAVAILABLE, Code.INTERNAL)
    assert failed.message.startswith(f"{error.message}. For 10 minutes memory has been short while")


def test_while_other_jobs_are_trained_it_waits_without_end_and_then_for_the_whole_patience():
    waits = Waits(monotonic=Seconds())
    waited(waits, SHORT, patient=False, seconds=MEMORY_PATIENCE_SECONDS - 100)

    beside = sum(waited(waits, SHORT, patient=True, seconds=10 * MEMORY_PATIENCE_SECONDS))
    alone = sum(waited(waits, SHORT, patient=False, seconds=10 * MEMORY_PATIENCE_SECONDS))

    assert beside >= 10 * MEMORY_PATIENCE_SECONDS
    assert alone >= MEMORY_PATIENCE_SECONDS


def test_unread_files_are_waited_for_without_end_and_owners_are_told_no_path():
    error = OSError(5, "Input/output error", "/data/x/1.jsonl")

    assert sum(waited(Waits(monotonic=Seconds()), error, patient=False, seconds=5_000)) >= 5_000
    assert "/data/x/1.jsonl" in Obstacle.of(error).why
    assert Obstacle.of(error).told == "its files cannot be read on this server"


def test_a_job_that_was_taken_up_begins_anew():
    waits = Waits(monotonic=Seconds())
    waited(waits, SHORT, patient=False, seconds=60)
    waits.forget("a")

    assert waits.next("a", SHORT, patient=False) == 1
