"""Long work beside an engine: in order, one at a time, and forgotten when nobody waits."""

import threading

import pytest

from tuningfork.execution.local.preparing import Prepared, Preparing


def all_of(preparing):
    found = []
    while not preparing.idle:
        found += preparing.finished(patient=True)
    return found


def test_work_is_done_in_the_order_of_its_coming_and_beside_the_caller():
    preparing, threads = Preparing(), []
    for name in "abc":
        preparing.begin(name, lambda name=name: threads.append(threading.current_thread()) or name.upper())
    assert all_of(preparing) == [Prepared(name, name.upper()) for name in "abc"]
    assert len(set(threads)) == 1
    assert threading.current_thread() not in threads


def test_an_error_is_told_and_the_next_work_is_done():
    preparing, error = Preparing(), ValueError("no")

    def fail():
        raise error

    preparing.begin("a", fail)
    preparing.begin("b", lambda: 1)
    assert all_of(preparing) == [Prepared("a", error=error), Prepared("b", 1)]


def test_it_is_idle_when_nobody_waits():
    preparing = Preparing()
    assert preparing.idle
    preparing.begin("a", lambda: 1)
    assert not preparing.idle
    all_of(preparing)
    assert preparing.idle


def test_nobody_is_kept_waiting_by_work_that_takes_long():
    preparing, gate = Preparing(), threading.Event()
    preparing.begin("a", gate.wait)
    assert preparing.finished(patient=False) == []
    assert preparing.finished(patient=True) == []
    gate.set()
    assert all_of(preparing) == [Prepared("a", result=True)]


def test_what_nobody_waits_for_is_not_begun_and_not_told():
    preparing, gate, done = Preparing(), threading.Event(), []
    preparing.begin("a", gate.wait)
    preparing.begin("b", lambda: done.append("b"))
    preparing.begin("c", lambda: done.append("c"))
    for name in ("a", "b"):
        preparing.forget(name)
    gate.set()
    assert all_of(preparing) == [Prepared("c")]
    assert done == ["c"]


@pytest.mark.parametrize("name", ["a", "unknown"])
def test_forgetting_what_is_done_or_unknown_changes_nothing(name):
    preparing = Preparing()
    preparing.begin("a", lambda: 1)
    all_of(preparing)
    preparing.forget(name)
    assert preparing.idle


def test_owners_take_turns_and_prompts_do_not_wait_for_schemas():
    preparing, gate, order = Preparing(), threading.Event(), []

    def note(name):
        gate.wait()
        order.append(name)

    for name in ("a1", "a2", "a3", "b1"):
        preparing.begin(name, lambda name=name: note(name), owner=name[0], compiles=True)
    preparing.begin("prompt", lambda: "counted", owner="c")
    found = []
    while not found:
        found += preparing.finished(patient=True)
    gate.set()
    found += all_of(preparing)

    assert found[0] == Prepared("prompt", "counted")
    assert order in (["a1", "b1", "a2", "a3"], ["a1", "a2", "b1", "a3"])


def test_quick_work_goes_ahead_of_other_work_that_waits_and_does_not_starve_it():
    preparing, begun, gate, done = Preparing(), threading.Event(), threading.Event(), []
    preparing.begin("first", lambda: begun.set() or gate.wait())
    assert begun.wait(60)
    preparing.begin("long", lambda: done.append("long"))
    for number in range(40):
        preparing.begin(str(number), lambda number=number: done.append(number), is_quick=True)
    gate.set()
    all_of(preparing)
    assert done == [*range(32), "long", *range(32, 40)]
