"""How fast a server has trained is measured by its steps, and not while it loads or waits."""

import pytest

from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.tuning_job import JobId
from tuningfork.service.tuning.speeds import LATEST_STEPS, LEAST_STEPS, Speeds

BASE, OTHER = BaseModelName("models/a"), BaseModelName("models/b")
ONE, TWO = JobId("1"), JobId("2")


class Clock:
    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def speeds(clock):
    return Speeds(clock)


@pytest.fixture
def step(speeds, clock):
    """Makes a step of a job, some time after the one before."""

    def make(job, seconds, tokens):
        clock.seconds += seconds
        speeds.stepped(job, tokens)

    return make


def test_a_speed_is_the_tokens_of_the_last_steps_by_their_time(speeds, step):
    speeds.claimed(ONE, BASE)
    step(ONE, 0, 50)
    for _ in range(LATEST_STEPS):
        step(ONE, 2, 100)

    assert speeds.tokens_per_second(BASE) == 50
    assert speeds.tokens_per_second(OTHER) is None
    for _ in range(LATEST_STEPS):
        step(ONE, 1, 100)
    assert speeds.tokens_per_second(BASE) == 100


def test_loading_a_base_and_waiting_for_a_job_are_not_counted(speeds, step):
    speeds.claimed(ONE, BASE)
    step(ONE, 60, 100)
    for _ in range(LEAST_STEPS):
        step(ONE, 1, 100)
    speeds.claimed(TWO, BASE)
    step(TWO, 10_000, 100)
    step(TWO, 1, 100)

    assert speeds.tokens_per_second(BASE) == 100


def test_jobs_that_share_a_base_share_its_speed(speeds, step):
    for job in (ONE, TWO):
        speeds.claimed(job, BASE)
        step(job, 0, 100)
    for _ in range(10):
        step(ONE, 1, 100)
        step(TWO, 0, 300)

    assert speeds.tokens_per_second(BASE) == 400


def test_a_few_steps_are_no_measurement(speeds, step):
    speeds.claimed(ONE, BASE)
    for _ in range(LEAST_STEPS):
        step(ONE, 1, 100)

    assert speeds.tokens_per_second(BASE) is None
    step(ONE, 1, 100)
    assert speeds.tokens_per_second(BASE) == 100


def test_a_job_that_was_not_claimed_here_is_not_counted(speeds, step):
    for _ in range(10):
        step(ONE, 1, 100)

    assert speeds.tokens_per_second(BASE) is None
