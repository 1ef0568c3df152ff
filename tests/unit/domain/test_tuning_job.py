"""The states of a job and the ways between them."""

from datetime import UTC, datetime

import pytest

from tuningfork.domain.base_model import AdapterShape, BaseModelName
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.domain.tuning_job import TRANSITIONS, JobId, JobState, Snapshot, TuningJob

NOW = datetime(2024, 3, 14, tzinfo=UTC)


def job(*snapshots):
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
        snapshots=snapshots,
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


def test_the_last_snapshot_says_how_far_a_job_is():
    taken = [Snapshot(step=step, epoch=0, mean_loss=1.0, compute_time=NOW) for step in (1, 2, 3)]
    assert job(*taken).completed_steps == 3
