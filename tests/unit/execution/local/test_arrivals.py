"""Requests are begun owner by owner, some between two steps."""

from tuningfork.execution.local.arrivals import SECONDS_PER_STEP, Arrivals
from tuningfork.execution.local.messages import Count


def request(name):
    return Count(name, None, None, owner=name[0])


def arrivals_of(*names, seconds=0.0):
    """Requests that each take so many seconds to begin."""
    times = iter(seconds * reading for reading in range(1_000))
    arrivals = Arrivals(monotonic=lambda: next(times))
    for name in names:
        arrivals.add(request(name))
    return arrivals


def taken(arrivals):
    return [each.request_id for each in arrivals.take()]


def test_owners_take_turns():
    assert taken(arrivals_of("a1", "a2", "a3", "b1")) == ["a1", "b1", "a2", "a3"]


def test_between_two_steps_there_is_time_for_some_and_at_least_for_one():
    arrivals = arrivals_of("a1", "a2", "a3", "b1", seconds=SECONDS_PER_STEP * 0.6)
    assert [taken(arrivals) for _ in range(2)] == [["a1", "b1"], ["a2", "a3"]]
    assert not arrivals
    slow = arrivals_of("a1", "a2", seconds=SECONDS_PER_STEP * 5)
    assert [taken(slow) for _ in range(2)] == [["a1"], ["a2"]]


def test_what_nobody_waits_for_is_not_begun():
    arrivals = arrivals_of("a1", "a2", "b1")
    assert arrivals.withdraw("a1")
    assert not arrivals.withdraw("a1")
    assert taken(arrivals) == ["a2", "b1"]
    assert not arrivals.withdraw("a2")
