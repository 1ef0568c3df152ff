"""A role whose processes die at their start is not ready, until it is time for another try."""

import os
from pathlib import Path

import pytest

from patience import wait_until
from tuningfork.execution.local.restarting import UNREADY_SECONDS, RestartingChild

TOYS = Path(__file__).parents[3] / "toy_workers"


class Role(RestartingChild):
    """Its process exits when it is told to, and else answers."""

    def __init__(self):
        paths = os.pathsep.join([str(TOYS), os.environ.get("PYTHONPATH", "")])
        super().__init__("echo_worker", {"PYTHONPATH": paths, "COLOUR": "blue"}, monotonic=lambda: self.now)
        self.now = 1_000.0
        self.deaths = 0
        self.answers = []

    def die_at_start(self):
        seen = self.deaths
        self._order("exit")
        wait_until(lambda: self.deaths == seen + 1)

    def answer(self):
        self._order("hello")
        wait_until(lambda: self.answers)

    def _take(self, message):
        self.answers.append(message)

    def _drop_all(self, ending):
        self.deaths += 1
        return []


@pytest.fixture
def role():
    role = Role()
    yield role
    role.close()


def test_after_three_deaths_in_a_row_it_is_not_ready_for_a_minute(role):
    for _ in range(3):
        assert role.refusal() is None
        role.die_at_start()
    refused = role.refusal()
    role.now += UNREADY_SECONDS - 1
    still = role.refusal()
    role.now += 1

    assert refused == still == "its process has died 3 times in a row at its start; the log says how"
    # Whoever directs requests to servers that are ready directs one here again, which starts a process.
    assert role.refusal() is None


def test_another_death_after_that_minute_begins_another_one(role):
    for _ in range(3):
        role.die_at_start()
    role.now += UNREADY_SECONDS
    role.die_at_start()

    assert role.refusal() == "its process has died 4 times in a row at its start; the log says how"
    role.now += UNREADY_SECONDS
    assert role.refusal() is None


def test_a_process_that_answers_ends_the_row(role):
    for _ in range(3):
        role.die_at_start()
    role.answer()

    assert role.refusal() is None
