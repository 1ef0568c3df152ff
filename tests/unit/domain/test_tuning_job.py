"""The states of a job and the ways between them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tuningfork.domain.base_model import AdapterShape, BaseModelName
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.domain.tuning_job import TRANSITIONS, JobId, JobState, TuningJob, seed_of

NOW = datetime(2024, 3, 14, tzinfo=UTC)


def job(completed_steps=0):
    return TuningJob(
        id=JobId("bvl8dymw0fhw"),
        model_id=TunedModelId("number-generator"),
        base_model=BaseModelName("models/echo-001"),
        state=JobState.RUNNING,
        hyperparameters=Hyperparameters(epoch_count=5, batch_size=4, learning_rate=0.001),
        adapter=AdapterShape(),
        example_count=15,
        seed=0,
        create_time=NOW,
        completed_steps=completed_steps,
    )


def test_every_state_has_its_ways_on():
    assert set(TRANSITIONS) == set(JobState)


def test_succeeded_failed_and_cancelled_are_the_ends():
    assert {state for state in JobState if state.is_final} == {
        JobState.SUCCEEDED,
        JobState.FAILED,
        JobState.CANCELLED,
    }


def test_a_job_succeeds_only_from_running():
    assert [state for state in JobState if JobState.SUCCEEDED in TRANSITIONS[state]] == [JobState.RUNNING]


def test_a_running_job_can_wait_again():
    assert JobState.QUEUED in TRANSITIONS[JobState.RUNNING]


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
def test_every_unfinished_job_can_reach_an_end(state):
    assert any(target.is_final for target in TRANSITIONS[state])


def test_a_job_without_snapshots_has_completed_nothing():
    assert (job().completed_steps, job().total_steps) == (0, 19)


class TestSeed:
    EXAMPLES = (Conversation.pair("1", "2"),)
    USED = Hyperparameters(epoch_count=5, batch_size=4, learning_rate=0.001)
    ECHO = BaseModelName("models/echo-001")

    def seed(self, source=None):
        return seed_of(self.EXAMPLES, self.USED, self.ECHO, source)

    def test_the_seed_of_a_job_over_a_base_is_the_one_that_it_always_was(self):
        # As version 0.1 made it: a job that waits across the upgrade is none the wiser.
        assert self.seed() == 448_075_195

    def test_a_source_makes_another_job_of_it_and_each_source_a_different_one(self):
        source = replace(job(completed_steps=4), seed=7)
        sources = [
            None,
            source,
            replace(source, seed=8),
            replace(source, adapter=AdapterShape(rank=2)),
            replace(source, completed_steps=5),
        ]
        assert len({self.seed(each) for each in sources}) == len(sources)

    def test_the_same_source_makes_the_same_job_whatever_it_is_called(self):
        one, other = (
            replace(job(completed_steps=4), id=JobId(name), model_id=TunedModelId(name), create_time=when)
            for name, when in (("a", NOW), ("b", NOW + timedelta(days=1)))
        )
        assert self.seed(one) == self.seed(other)
