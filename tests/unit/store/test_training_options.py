"""A job's objective and schedules outlast the server, from the request to the trainer."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from fakes import ECHO_BASE
from store_rows import keep, new_job
from tuningfork.domain.checkpoint_schedule import CheckpointSchedule
from tuningfork.domain.conversation import Conversation, Preference, Speaker, Turn
from tuningfork.domain.early_stopping import EarlyStopping
from tuningfork.domain.hyperparameters import RequestedHyperparameters
from tuningfork.domain.objective import CrossEntropy, DirectPreferenceOptimization
from tuningfork.store import schema, training_options, tuning_jobs
from workshop import ADA, number_request

DPO = DirectPreferenceOptimization(beta=0.3)
SCHEDULE = CheckpointSchedule(steps_every=5, epochs_every=2)


def test_options_are_read_as_they_were_written(database):
    usual = new_job("a")
    hyperparameters = replace(usual.hyperparameters, objective=DPO)
    job = replace(
        usual,
        hyperparameters=hyperparameters,
        checkpoints=SCHEDULE,
        validation_count=7,
        evaluate_every=4,
        keep_best=True,
        early_stopping=EarlyStopping(patience=5, least_improvement=0.25),
    )
    keep(database, job)

    with database.read() as connection:
        assert tuning_jobs.find(connection, job.id) == job


@pytest.mark.parametrize("teaches", [None, False, True])
def test_whether_the_next_turn_is_taught_is_kept_also_if_it_is_not_or_nobody_knows(database, teaches):
    job = replace(new_job("a"), teaches_next_turn=teaches)
    keep(database, job)

    with database.read() as connection:
        assert tuning_jobs.find(connection, job.id) == job
        assert tuning_jobs.teaches_next_turn(connection, job.model_id) is teaches


def test_a_row_with_an_option_that_an_earlier_version_wrote_and_nobody_reads_is_the_same_job(database):
    job = keep(database, replace(new_job("a"), evaluate_every=4, teaches_next_turn=True))
    earlier = {**training_options.options_of(job), "answers": "LABELS"}
    with database.write() as connection:
        connection.execute(schema.tuning_jobs.update().values(training_options=earlier))

    with database.read() as connection:
        assert tuning_jobs.find(connection, job.id) == job


def test_the_kind_of_answers_is_not_kept_since_nobody_reads_it(workshop):
    tuned = workshop.tuning.create(ADA, number_request())

    with workshop.database.read() as connection:
        (kept,) = connection.execute(select(schema.tuning_jobs.c.training_options)).scalars()
    assert kept == training_options.options_of(tuned.job) == {"teaches_next_turn": False}


def test_a_job_without_options_is_cross_entropy_without_checkpoints():
    assert training_options.options_of(new_job("a")) == {}
    assert training_options.objective_in({}) == CrossEntropy()
    assert training_options.checkpoints_in({}) == CheckpointSchedule()
    assert training_options.validation_count_in({}) == 0
    assert training_options.evaluate_every_in({}) == 0
    assert training_options.teaches_next_turn({}) is None


def test_what_a_request_asks_for_reaches_the_trainer(workshop):
    prompt = Conversation(turns=(Turn.said(Speaker.USER, "1"),))
    examples = (Preference(prompt=prompt, chosen=("2",), rejected=("3",)),)
    request = number_request(
        examples=examples,
        validation=examples,
        hyperparameters=RequestedHyperparameters(objective=DPO),
        checkpoints=SCHEDULE,
        evaluate_every=4,
    )
    plain, wanted = (workshop.tuning.create(ADA, each) for each in (number_request(), request))
    first, second = workshop.running.claim(), workshop.running.claim()

    assert (first.job_id, second.job_id) == (plain.job.id, wanted.job.id)
    assert (first.hyperparameters.objective, first.checkpoints, first.evaluate_every) == (
        CrossEntropy(),
        CheckpointSchedule(),
        0,
    )
    assert (second.hyperparameters.objective, second.checkpoints, second.evaluate_every) == (DPO, SCHEDULE, 4)
    assert second.base == ECHO_BASE
