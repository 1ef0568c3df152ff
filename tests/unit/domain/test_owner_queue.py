"""Owners take turns; of one owner the oldest comes first."""

import pytest

from tuningfork.domain.owner_queue import OwnerQueue


def queue_of(*items):
    queue = OwnerQueue()
    for item in items:
        queue.append(item[0], item)
    return queue


def all_of(queue):
    taken = []
    while queue:
        taken.append(queue.take())
    return taken


def test_owners_take_turns_whoever_came_first_and_with_how_much():
    assert all_of(queue_of("a1", "a2", "a3", "a4", "b1", "b2", "c1")) == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


def test_one_owner_has_the_order_of_arrival():
    assert all_of(queue_of("a1", "a2", "a3")) == ["a1", "a2", "a3"]


def test_whoever_comes_back_waits_for_one_turn_of_each_other():
    queue = queue_of("a1", "a2", "b1")
    first = [queue.take(), queue.take()]
    queue.append("b", "b2")
    assert first + all_of(queue) == ["a1", "b1", "a2", "b2"]


def test_an_owner_can_be_chosen_and_loses_its_turn_with_it():
    queue = queue_of("a1", "a2", "b1", "b2")
    assert queue.owners == ["a", "b"]
    assert (queue.first("b"), queue.take("b")) == ("b1", "b1")
    assert all_of(queue) == ["a1", "b2", "a2"]


def test_items_can_be_put_first_and_removed():
    queue = queue_of("a1", "a2", "b1")
    queue.put_first("a", "a0")
    queue.remove("a", "a1")
    queue.remove("b", "b1")
    with pytest.raises(ValueError, match="not in deque"):
        queue.remove("b", "b1")
    assert (len(queue), list(queue), queue.owners) == (2, ["a0", "a2"], ["a"])
