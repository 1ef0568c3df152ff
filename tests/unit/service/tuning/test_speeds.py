"""How fast a server has trained is measured by its steps, and not while it loads or waits."""

from dataclasses import replace

import pytest

from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.objective import DirectPreferenceOptimization
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import StepTimes
from tuningfork.service.tuning.speeds import (
    LATEST_OF_A_JOB,
    LATEST_STEPS,
    LEAST_STEPS,
    PROBE_LASTS_SECONDS,
    Speeds,
    StepKind,
)

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


def test_steps_of_another_size_do_not_tell_the_speed_of_these(speeds, step):
    speeds.claimed(ONE, BASE)
    step(ONE, 0, 100)
    for tokens in (100, 180, 400, 420, 390) * LEAST_STEPS:
        step(ONE, 1, tokens)

    assert speeds.tokens_per_second(BASE, like=100) == 140
    assert speeds.tokens_per_second(BASE, like=400) == pytest.approx((400 + 420 + 390) / 3)
    assert speeds.tokens_per_second(BASE, like=10_000) is None
    assert speeds.tokens_per_second(OTHER, like=100) is None


def test_steps_with_another_objective_do_not_tell_the_speed_of_these(speeds, step):
    speeds.claimed(ONE, BASE, DirectPreferenceOptimization)
    for _ in range(LEAST_STEPS + 1):
        step(ONE, 2, 100)

    assert speeds.tokens_per_second(BASE) is None
    assert speeds.tokens_per_second(BASE, objective=DirectPreferenceOptimization, like=100) == 50


USED = Hyperparameters(epoch_count=1, batch_size=4, learning_rate=0.001)


def kind_of(*, base=BASE, used=USED, rank=8, step_tokens=100):
    return StepKind.of(base, used, rank=rank, step_tokens=step_tokens)


@pytest.mark.parametrize(
    "changes",
    [
        {"base": OTHER},
        {"used": replace(USED, batch_size=8)},
        {"used": replace(USED, objective=DirectPreferenceOptimization())},
        {"rank": 16},
        {"step_tokens": 10_000},
        {"step_tokens": 200},
    ],
)
def test_what_a_probe_measured_is_told_of_its_kind_only(speeds, changes):
    speeds.probed(kind_of(), StepTimes(steps=2, tokens=100, seconds=4.0))

    same = kind_of(used=replace(USED, learning_rate=0.1), step_tokens=120)
    assert speeds.probed_tokens_per_second(same) == 25
    assert speeds.is_probed(same)
    assert speeds.probed_tokens_per_second(kind_of(**changes)) is None
    assert not speeds.is_probed(kind_of(**changes))
    assert speeds.tokens_per_second(BASE) is None


def test_what_a_probe_found_is_forgotten_after_a_time(speeds, clock):
    measured, failed = kind_of(), kind_of(rank=256)
    speeds.probed(measured, StepTimes(steps=2, tokens=100, seconds=4.0))
    speeds.probed(failed, StepTimes())
    clock.seconds += PROBE_LASTS_SECONDS - 1
    assert speeds.probed_tokens_per_second(measured) == 25
    assert (speeds.is_probed(failed), speeds.probed_tokens_per_second(failed)) == (True, None)
    clock.seconds += 1

    assert not speeds.is_probed(measured)
    assert speeds.probed_tokens_per_second(measured) is None
    assert not speeds.is_probed(failed)


def test_the_time_left_follows_from_the_jobs_own_last_steps(speeds, step):
    for job in (ONE, TWO):
        speeds.claimed(job, BASE)
    step(ONE, 60, 100)
    assert speeds.seconds_left(ONE, 50) is None
    for _ in range(LATEST_OF_A_JOB):
        step(ONE, 1, 100)
        step(TWO, 1, 100)

    # Each of its steps comes two seconds after the one before, since the other job has its turns.
    assert speeds.seconds_left(ONE, 50) == pytest.approx(100, rel=0.03)
    assert speeds.seconds_left(JobId("nobody's"), 50) is None
    for _ in range(LATEST_OF_A_JOB + 1):
        step(ONE, 3, 100)
    assert speeds.seconds_left(ONE, 50) == 150
    assert speeds.seconds_left(ONE, 0) == 0


def test_a_job_that_is_taken_up_again_is_measured_anew(speeds, step):
    speeds.claimed(ONE, BASE)
    for _ in range(5):
        step(ONE, 1, 100)
    speeds.claimed(ONE, BASE)
    step(ONE, 10_000, 100)

    assert speeds.seconds_left(ONE, 50) is None


def test_a_job_that_is_let_go_is_forgotten_but_not_the_speed_of_its_base(speeds, step):
    speeds.claimed(ONE, BASE)
    for _ in range(5):
        step(ONE, 1, 100)
    speeds.let_go(ONE)

    assert speeds.seconds_left(ONE, 50) is None
    assert speeds.tokens_per_second(BASE) == 100
