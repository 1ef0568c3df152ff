"""What validation sets showed."""

from dataclasses import replace

import pytest

from store_rows import NOW, keep, new_job
from tuningfork.domain.evaluation import Evaluation
from tuningfork.store import evaluations, tuned_models, tuning_jobs


@pytest.fixture
def job(database):
    return keep(database, new_job("a"))


def evaluation(step, **changes):
    usual = Evaluation(step=step, epoch=step // 4, mean_loss=1 / step, targets=2**40, right_targets=7, compute_time=NOW)
    return replace(usual, **changes)


def put(database, job, *made):
    with database.write() as connection:
        for each in made:
            evaluations.put_evaluation(connection, job.id, each)


def found(database, job, **after):
    with database.read() as connection:
        return evaluations.evaluations_of(connection, job.id, **after)


def test_evaluations_are_read_in_the_order_of_their_steps_and_from_a_step_on(database, job):
    other = keep(database, new_job("b"))
    made = [evaluation(step) for step in (4, 8, 12)]
    put(database, job, made[2], made[0], made[1])
    put(database, other, evaluation(5))

    assert found(database, job) == tuple(made)
    assert found(database, job, after_step=4) == tuple(made[1:])
    assert found(database, job, after_step=12) == ()


def test_some_are_read_and_those_of_some_steps_and_the_best(database, job):
    made = [evaluation(4, mean_loss=1.0), evaluation(8, mean_loss=0.5), evaluation(12, mean_loss=0.5)]
    put(database, job, *made)

    assert found(database, job, most=2) == tuple(made[:2])
    with database.read() as connection:
        assert evaluations.evaluations_at(connection, job.id, [12, 5, 4]) == {4: made[0], 12: made[2]}
        assert evaluations.best_evaluation(connection, job.id) == made[1]
        assert evaluations.best_evaluation(connection, "none") is None


def test_those_that_are_missing_are_added_and_no_other_is_changed(database, job):
    put(database, job, evaluation(4), evaluation(8, mean_loss=3.0))
    with database.write() as connection:
        evaluations.add_missing_evaluations(connection, job.id, [evaluation(8), evaluation(12)])

    assert found(database, job) == (evaluation(4), evaluation(8, mean_loss=3.0), evaluation(12))


def test_an_evaluation_that_is_made_again_takes_the_place_of_the_earlier_one(database, job):
    put(database, job, evaluation(4), evaluation(8), evaluation(4, mean_loss=3.0))

    assert found(database, job) == (evaluation(4, mean_loss=3.0), evaluation(8))


def test_a_job_that_goes_back_drops_later_evaluations(database, job):
    put(database, job, *map(evaluation, (4, 8, 12)))
    with database.write() as connection:
        evaluations.drop_evaluations(connection, job.id, after_step=8)

    assert found(database, job) == (evaluation(4), evaluation(8))


def test_evaluations_go_with_their_model(database, job):
    put(database, job, evaluation(4))
    with database.write() as connection:
        tuned_models.delete(connection, job.model_id)

    assert found(database, job) == ()


def best_loss(database, job):
    with database.read() as connection:
        return tuning_jobs.find(connection, job.id).best_validation_loss


def test_the_job_has_the_lowest_validation_loss_also_after_it_went_back_or_was_evaluated_anew(database, job):
    assert best_loss(database, job) is None
    losses = []
    for made in (evaluation(4, mean_loss=0.5), evaluation(8, mean_loss=0.25), evaluation(12, mean_loss=0.75)):
        put(database, job, made)
        losses.append(best_loss(database, job))
    put(database, job, evaluation(8, mean_loss=0.3))
    losses.append(best_loss(database, job))
    with database.write() as connection:
        evaluations.drop_evaluations(connection, job.id, after_step=4)
    losses.append(best_loss(database, job))

    assert losses == [0.5, 0.25, 0.25, 0.3, 0.5]
