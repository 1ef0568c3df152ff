"""The weights that jobs left."""

import pytest

from store_rows import keep, new_job
from tuningfork.domain.checkpoint import Checkpoint
from tuningfork.store import checkpoints, tuned_models


@pytest.fixture
def job(database):
    return keep(database, new_job("a"))


def kept(database, job):
    with database.read() as connection:
        return checkpoints.checkpoints_of(connection, job.id)


def add(database, job, step):
    with database.write() as connection:
        return checkpoints.add_checkpoint(
            connection, job.id, step=step, epoch=step // 4, artifact=f"adapters/{step}", metrics={"mean_loss": 1 / step}
        )


def test_a_job_has_no_checkpoints_at_first(database, job):
    assert kept(database, job) == ()


def test_checkpoints_are_numbered_from_one_in_the_order_in_which_they_are_kept(database, job):
    made = [add(database, job, step) for step in (4, 8)]

    assert made[0] == Checkpoint(
        job_id=job.id, number=1, step=4, epoch=1, artifact="adapters/4", metrics={"mean_loss": 0.25}
    )
    assert [each.number for each in made] == [1, 2]
    assert kept(database, job) == tuple(made)


def test_a_job_that_goes_back_takes_its_later_checkpoints_again(database, job):
    made = [add(database, job, step) for step in (4, 8, 12)]
    with database.write() as connection:
        checkpoints.drop_checkpoints(connection, job.id, after_step=8)
    assert kept(database, job) == tuple(made[:2])

    assert add(database, job, 12) == made[2]


def test_a_model_answers_with_the_checkpoint_that_is_its_default(database, job):
    add(database, job, 4)
    with database.write() as connection:
        assert tuned_models.find(connection, job.model_id).default_checkpoint is None
        checkpoints.set_default(connection, job.model_id, 1)
        assert tuned_models.find(connection, job.model_id).default_checkpoint == 1


def test_checkpoints_go_with_their_model(database, job):
    add(database, job, 4)
    with database.write() as connection:
        tuned_models.delete(connection, job.model_id)
    assert kept(database, job) == ()
