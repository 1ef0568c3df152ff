"""Looks at files that end in time, whatever the files do."""

import threading

import pytest

from tuningfork.buckets.errors import ObjectNotFound, StoreUnreachable
from tuningfork.buckets.timely import TimelyLooks

URI = "gs://b/t.jsonl"


@pytest.fixture
def hangs():
    """A look that ends when the test ends."""
    over = threading.Event()
    yield over.wait
    over.set()


def test_what_a_look_finds_is_returned_and_what_it_raises_is_raised():
    looks = TimelyLooks()

    def missing():
        raise ObjectNotFound("b", "t.jsonl")

    assert looks.at(URI, lambda: 3) == 3
    with pytest.raises(ObjectNotFound):
        looks.at(URI, missing)


def test_a_look_that_hangs_is_given_up_with_the_address(hangs):
    with pytest.raises(StoreUnreachable, match=r"gs://b/t.jsonl could not be looked at within 0.01 seconds"):
        TimelyLooks(0.01).at(URI, hangs)


def test_looks_that_hang_are_bounded_and_leave_their_places_when_they_end():
    looks, over = TimelyLooks(0.01, most=2), threading.Event()
    for _ in range(2):
        with pytest.raises(StoreUnreachable):
            looks.at(URI, over.wait)
    with pytest.raises(StoreUnreachable, match="too many files wait"):
        looks.at(URI, over.wait)

    over.set()
    patient = TimelyLooks(60, most=2)
    patient._places = looks._places
    assert patient.at(URI, lambda: "seen") == "seen"
