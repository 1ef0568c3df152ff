"""Wrong credentials are counted by the address that they come from."""

import pytest

from tuningfork.domain.errors import TooManyTries
from tuningfork.service.identity.wrong_tries import MOST_TRIES, WrongTries


class Hand:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def hand():
    return Hand()


@pytest.fixture
def tries(hand):
    return WrongTries(hand)


def fail(tries, address, times=MOST_TRIES):
    for _ in range(times):
        tries.check(address)
        tries.count(address)


def test_an_address_waits_after_five_wrong_tries(tries, hand):
    fail(tries, "192.0.2.1")
    hand.now += 10

    with pytest.raises(TooManyTries) as caught:
        tries.check("192.0.2.1")

    assert caught.value.retry_seconds == 20
    tries.check("192.0.2.2")


def test_afterwards_it_has_five_tries_again(tries, hand):
    fail(tries, "192.0.2.1")
    hand.now += 30
    fail(tries, "192.0.2.1")
    with pytest.raises(TooManyTries):
        tries.check("192.0.2.1")


def test_a_right_one_makes_the_wrong_ones_forgotten(tries):
    fail(tries, "192.0.2.1", MOST_TRIES - 1)
    tries.forget("192.0.2.1")
    fail(tries, "192.0.2.1", MOST_TRIES - 1)
    tries.check("192.0.2.1")


def test_wrong_tries_of_long_ago_do_not_count(tries, hand):
    fail(tries, "192.0.2.1", MOST_TRIES - 1)
    hand.now += 600
    fail(tries, "192.0.2.1", MOST_TRIES - 1)
    tries.check("192.0.2.1")


def test_all_addresses_of_one_ipv6_host_count_together(tries):
    for number in range(MOST_TRIES):
        tries.count(f"2001:db8:0:1::{number}")
    with pytest.raises(TooManyTries):
        tries.check("2001:db8:0:1:ffff::1")
    tries.check("2001:db8:0:2::1")


def test_memory_does_not_grow_with_the_addresses(tries):
    for number in range(10_100):
        tries.count(f"10.0.{number // 250}.{number % 250}")
    assert len(tries._tries) == 10_000
