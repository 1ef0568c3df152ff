"""A job's objective and schedules outlast the server, from the request to the trainer."""

from dataclasses import replace

import pytest

from fakes import ECHO_BASE
from store_rows import keep, new_job
from tuningfork.domain.answer_kind import AnswerKind
from tuningfork.domain.checkpoint_schedule import CheckpointSchedule
from tuningfork.domain.conversation import Conversation, Preference, Speaker, Turn
from tuningfork.domain.hyperparameters import RequestedHyperparameters
from tuningfork.domain.objective import CrossEntropy, DirectPreferenceOptimization
from tuningfork.store import training_options, tuning_jobs
from workshop import ADA, number_request

DPO = DirectPreferenceOptimization(beta=0.3)
SCHEDULE = CheckpointSchedule(steps_every=5, epochs_every=2)


def test_options_are_read_as_they_were_written(database):
    usual = new_job("a")
    hyperparameters = replace(usual.hyperparameters, objective=DPO)
    job = replace(usual, hyperparameters=hyperparameters, checkpoints=SCHEDULE, validation_count=7, evaluate_every=4)
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


@pytest.mark.parametrize("answers", [None, *AnswerKind])
def test_the_kind_of_answers_is_kept_where_it_is_known(database, answers):
    job = replace(new_job("a"), answers=answers)
    keep(database, job)

    with database.read() as connection:
        assert tuning_jobs.find(connection, job.id) == job


def test_a_kind_of_answers_that_a_later_version_told_is_not_known():
    assert training_options.answers_in({"answers": "VERSES"}) is None


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
