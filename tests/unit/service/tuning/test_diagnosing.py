"""What the losses of jobs give reason to warn of: in the job, its events, the log and the metrics."""

import logging

import pytest
from sqlalchemy import select

from tuningfork.domain.errors import NotFound, PermissionDenied
from tuningfork.domain.evaluation import Evaluation
from tuningfork.domain.findings import FindingKind
from tuningfork.domain.tuning_job import JobState, Snapshot
from tuningfork.service.tuning.diagnosing import Diagnosing
from tuningfork.store.schema import job_events
from workshop import ADA, BOB, NUMBER_PAIRS, number_request

LEVEL = [2.0, 2.1, 1.9] * 6
FALLING = [2.0 / step for step in range(1, 19)]


@pytest.fixture
def diagnosing(workshop):
    return Diagnosing(workshop.database, workshop.tuning.list)


def adapter(workshop, tuned):
    ref = workshop.artifacts.work(tuned.job.id).below("adapter")
    with workshop.artifacts.store.writing(ref) as directory:
        directory.mkdir()
        (directory / "adapter_model.safetensors").write_text("weights")
    return ref


def begun(workshop, losses, evaluations=(), **changes):
    """A running job after steps with these losses."""
    tuned = workshop.tuning.create(ADA, number_request(**changes))
    assert workshop.running.claim([tuned.job.id]) is not None
    for step, loss in enumerate(losses, start=1):
        taken = Snapshot(step=step, epoch=step * 4 // 15, mean_loss=loss, compute_time=workshop.clock())
        workshop.running.record(tuned.job.id, taken, tokens=12)
    for index, loss in enumerate(evaluations, start=1):
        evaluation = Evaluation(
            step=3 * index, epoch=0, mean_loss=loss, targets=9, right_targets=1, compute_time=workshop.clock()
        )
        workshop.running.evaluated(tuned.job.id, evaluation)
    return tuned


def ended(workshop, losses, evaluations=()):
    tuned = begun(workshop, losses, evaluations)
    workshop.running.finish(tuned.job.id, adapter(workshop, tuned))
    return tuned


def counted(workshop, finding):
    return workshop.metrics.registry.get_sample_value("tuningfork_tuning_findings_total", {"finding": finding})


def reasons(workshop, tuned):
    query = select(job_events.c.reason).where(job_events.c.job_id == tuned.job.id).order_by(job_events.c.id)
    with workshop.database.read() as connection:
        return list(connection.execute(query).scalars())


def test_a_finding_is_in_the_job_its_events_the_log_and_the_metrics(workshop, caplog):
    with caplog.at_level(logging.WARNING):
        tuned = ended(workshop, LEVEL)

    (logged,) = [record for record in caplog.records if getattr(record, "action", "") == "job_finding"]
    assert workshop.job(tuned).findings == (FindingKind.LOSS_LEVEL,)
    assert workshop.job(tuned).state is JobState.SUCCEEDED
    assert "The loss stayed level: 2.000" in reasons(workshop, tuned)[-1]
    assert "ten times the learning rate" in logged.getMessage()
    assert (counted(workshop, "loss_level"), counted(workshop, "none")) == (1, None)


def test_a_job_that_learned_is_counted_without_a_warning(workshop, caplog):
    with caplog.at_level(logging.WARNING):
        tuned = ended(workshop, FALLING)

    assert workshop.job(tuned).findings == ()
    assert reasons(workshop, tuned)[-1] == ""
    assert caplog.records == []
    assert counted(workshop, "none") == 1


def test_a_job_whose_losses_cannot_be_judged_ends_with_its_weights(workshop, caplog):
    # The sum of these losses is above what a float can hold.
    tuned = ended(workshop, [1e308] * 18)

    assert workshop.job(tuned).state is JobState.SUCCEEDED
    assert workshop.job(tuned).findings == ()
    [logged] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert (logged.action, logged.job) == ("diagnosis_failed", tuned.job.id)


def test_a_job_whose_losses_cannot_be_judged_is_answered_without_findings_beside_others(workshop, diagnosing, caplog):
    broken, level = begun(workshop, [1e308] * 18), begun(workshop, LEVEL[:12])

    assert diagnosing.of(ADA, broken.model.id).findings == ()
    assert [each.job.model_id for each in diagnosing.list(ADA).items] == [level.model.id]
    logged = [(record.action, record.job) for record in caplog.records if record.levelno == logging.ERROR]
    assert logged == [("diagnosis_failed", broken.job.id)] * 2


def test_a_job_that_was_cancelled_is_judged_by_the_steps_that_it_took(workshop, diagnosing):
    tuned = begun(workshop, LEVEL[:12])
    workshop.tuning.cancel(ADA, tuned.model.id)
    workshop.running.stopped(tuned.job.id, adapter(workshop, tuned))

    assert workshop.job(tuned).findings == (FindingKind.LOSS_LEVEL,)
    assert [finding.kind for finding in diagnosing.of(ADA, tuned.model.id).findings] == [FindingKind.LOSS_LEVEL]


def test_a_job_without_weights_is_not_judged(workshop):
    tuned = begun(workshop, LEVEL[:12])
    workshop.tuning.cancel(ADA, tuned.model.id)
    workshop.running.stopped(tuned.job.id, None)

    assert workshop.job(tuned).findings is None
    assert counted(workshop, "loss_level") is None


def test_evaluations_are_looked_at_too(workshop, diagnosing):
    tuned = ended(workshop, FALLING, evaluations=[1.0, 0.8, 1.2, 1.4])

    (finding,) = diagnosing.of(ADA, tuned.model.id).findings
    assert finding.kind is FindingKind.OVERFITTING
    assert "lowest after step 6" in finding.description
    assert workshop.job(tuned).findings == (FindingKind.OVERFITTING,)


def test_a_job_that_keeps_its_best_checkpoint_is_not_warned_of_the_weights_after_it(workshop, diagnosing):
    tuned = begun(workshop, FALLING, [1.0, 0.5, 2.0], validation=NUMBER_PAIRS, keep_best=True)
    assert diagnosing.of(ADA, tuned.model.id).findings == ()


def test_a_running_job_is_diagnosed_by_its_steps_so_far_alone_and_in_the_list(workshop, diagnosing):
    begun(workshop, FALLING[:9])
    tuned = begun(workshop, LEVEL[:12])

    assert [finding.kind for finding in diagnosing.of(ADA, tuned.model.id).findings] == [FindingKind.LOSS_LEVEL]
    (listed,) = diagnosing.list(ADA).items
    assert (listed.job.model_id, listed.kinds) == (tuned.model.id, (FindingKind.LOSS_LEVEL,))
    assert workshop.job(tuned).findings is None


def test_the_list_goes_through_all_models_page_by_page(workshop, diagnosing):
    level = [ended(workshop, losses).model.id for losses in (LEVEL, FALLING, LEVEL)]

    first = diagnosing.list(ADA, page_size=2)
    second = diagnosing.list(ADA, page_size=2, page_token=first.next_page_token)

    assert [each.job.model_id for each in (*first.items, *second.items)] == [level[0], level[2]]
    assert second.next_page_token == ""
    assert diagnosing.list(BOB).items == ()


def test_findings_are_for_those_who_may_read_the_model(workshop, diagnosing):
    tuned = ended(workshop, LEVEL)

    with pytest.raises(PermissionDenied):
        diagnosing.of(BOB, tuned.model.id)
    with pytest.raises(NotFound):
        diagnosing.of(ADA, "nobody")
