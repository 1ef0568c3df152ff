"""Checkpoints and evaluations of jobs under way are recorded, once, and by the server that holds the job."""

import pytest

from fakes import InMemoryExecutor
from tuningfork.domain.checkpoint import Checkpoint
from tuningfork.domain.errors import Code
from tuningfork.domain.evaluation import Evaluation
from tuningfork.domain.tuned_model import ModelState
from tuningfork.domain.tuning_job import JobState, Snapshot
from tuningfork.service.tuning.running import StepReply
from tuningfork.store import checkpoints, evaluations
from tuningfork.store.leases import ServerId
from workshop import ADA, build_workshop, number_request

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def tuned(workshop):
    return workshop.tuning.create(ADA, number_request())


def step(workshop, tuned, *steps):
    for each in steps:
        taken = Snapshot(step=each, epoch=each // 4, mean_loss=1 / each, compute_time=workshop.clock())
        workshop.running.record(tuned.job.id, taken, tokens=1)


def written(workshop, tuned, name, content="weights"):
    """An adapter as a trainer leaves it in the job's work."""
    ref = workshop.artifacts.work(tuned.job.id).below(name)
    with workshop.artifacts.store.writing(ref) as directory:
        directory.mkdir()
        (directory / WEIGHTS).write_text(content)
    return ref


def keep(workshop, tuned, at, content="weights"):
    adapter = written(workshop, tuned, f"checkpoints/{at:08}", content)
    return workshop.running.checkpoint_kept(tuned.job.id, at, at // 4, adapter)


def kept(workshop, tuned):
    with workshop.database.read() as connection:
        return checkpoints.checkpoints_of(connection, tuned.job.id)


def weights(workshop, checkpoint):
    return (workshop.artifacts.store.root / checkpoint.artifact / WEIGHTS).read_text()


def files(workshop, tuned):
    """The checkpoints' files of a job that are on the disk, with or without a row."""
    return sorted(path.parent.name for path in (workshop.artifacts.store.root / "checkpoints").glob(f"*/*/{WEIGHTS}"))


def evaluation(workshop, at, mean_loss=1.0):
    return Evaluation(
        step=at, epoch=at // 4, mean_loss=mean_loss, targets=9, right_targets=3, compute_time=workshop.clock()
    )


def found(workshop, tuned):
    with workshop.database.read() as connection:
        return evaluations.evaluations_of(connection, tuned.job.id)


def test_kept_checkpoints_outlive_their_job_and_its_last_weights_are_the_default(workshop, tuned):
    workshop.running.claim()
    step(workshop, tuned, 1, 2, 3, 4)
    assert keep(workshop, tuned, 4, "fourth") is StepReply.CONTINUE
    step(workshop, tuned, 5)
    workshop.running.finish(tuned.job.id, written(workshop, tuned, "adapter", "last"))

    done = workshop.tuning.get(ADA, tuned.model.id)
    first, last = kept(workshop, tuned)
    assert (first.number, first.step, first.epoch, first.metrics) == (1, 4, 1, {"mean_loss": 0.25})
    assert (last.number, last.step, last.artifact) == (2, 5, f"adapters/{tuned.job.id}")
    assert (done.model.state, done.model.default_checkpoint) == (ModelState.ACTIVE, 2)
    assert not workshop.artifacts.work_directory(tuned.job.id).exists()
    assert [weights(workshop, each) for each in (first, last)] == ["fourth", "last"]


def test_a_checkpoint_that_is_reported_again_is_recorded_once(workshop, tuned):
    workshop.running.claim()
    step(workshop, tuned, 4)
    keep(workshop, tuned, 4)
    before = kept(workshop, tuned)
    workshop.running.give_back(tuned.job.id, died=True)
    workshop.running.claim()
    workshop.running.resumed(tuned.job.id, 4)
    keep(workshop, tuned, 4)

    assert kept(workshop, tuned) == before
    assert files(workshop, tuned) == ["00000004-1"]


def test_a_crash_between_a_checkpoints_files_and_its_row_is_made_good(workshop, tuned):
    workshop.running.claim()
    step(workshop, tuned, 4)
    adapter = written(workshop, tuned, "checkpoints/00000004")
    for claim_number in (1, 2):
        workshop.artifacts.keep_checkpoint(adapter, workshop.artifacts.checkpoint(tuned.job.id, 4, claim_number))
    # The server starts again, and the trainer reports what it finds in the work.
    workshop.running.requeue_interrupted()
    workshop.running.claim()
    workshop.running.resumed(tuned.job.id, 4)
    workshop.running.checkpoint_kept(tuned.job.id, 4, 1, adapter)
    assert [each.artifact for each in kept(workshop, tuned)] == [f"checkpoints/{tuned.job.id}/00000004-2"]

    assert files(workshop, tuned) == ["00000004-1", "00000004-2"]
    step(workshop, tuned, 5)
    workshop.running.finish(tuned.job.id, written(workshop, tuned, "adapter"))
    assert files(workshop, tuned) == ["00000004-2"]


def test_a_job_that_goes_back_keeps_its_later_checkpoints_again(workshop, tuned):
    workshop.running.claim()
    for each in (4, 8):
        step(workshop, tuned, each)
        keep(workshop, tuned, each, "before")
    workshop.running.give_back(tuned.job.id, died=True)
    workshop.running.claim()
    workshop.running.resumed(tuned.job.id, 6)
    assert [each.step for each in kept(workshop, tuned)] == [4]
    step(workshop, tuned, 8)
    keep(workshop, tuned, 8, "after")

    assert [(each.number, each.step) for each in kept(workshop, tuned)] == [(1, 4), (2, 8)]
    assert [weights(workshop, each) for each in kept(workshop, tuned)] == ["before", "after"]


def test_a_server_that_lost_the_job_records_nothing_and_touches_no_file(workshop, tuned, database, artifacts, clock):
    beside = build_workshop(database, artifacts, clock, InMemoryExecutor(clock), server=ServerId("beside"))
    workshop.running.claim()
    step(workshop, tuned, 4)
    late = written(workshop, tuned, "late", "of the loser")
    # What the other server does when this one's lease has run out.
    beside.running._give_back(workshop.running._claims.of(tuned.job.id), died=False, reason="its lease has run out")
    beside.running.claim()
    keep(beside, tuned, 4, "of the holder")

    assert workshop.running.checkpoint_kept(tuned.job.id, 4, 1, late) is StepReply.STOP
    assert workshop.running.checkpoint_kept(tuned.job.id, 5, 1, late) is StepReply.STOP
    assert workshop.running.evaluated(tuned.job.id, evaluation(workshop, 4)) is StepReply.STOP
    assert files(workshop, tuned) == ["00000004-2"]
    assert [weights(workshop, each) for each in kept(workshop, tuned)] == ["of the holder"]
    assert found(workshop, tuned) == ()


def test_a_job_that_is_lost_while_its_checkpoint_is_copied_leaves_no_files(workshop, tuned):
    class Slow(type(workshop.artifacts)):
        def keep_checkpoint(self, kept, checkpoint):
            super().keep_checkpoint(kept, checkpoint)
            workshop.tuning.delete(ADA, tuned.model.id)

    workshop.running.claim()
    step(workshop, tuned, 4)
    workshop.running._artifacts = Slow(workshop.artifacts.store.root)

    assert keep(workshop, tuned, 4) is StepReply.STOP
    assert files(workshop, tuned) == []
    # The trainer, which is told to stop, may still write into the work.
    assert workshop.artifacts.work_directory(tuned.job.id).is_dir()


def test_a_job_cancelled_right_after_a_checkpoint_has_that_step_once(workshop, tuned):
    workshop.running.claim()
    step(workshop, tuned, 4)
    keep(workshop, tuned, 4)
    workshop.tuning.cancel(ADA, tuned.model.id)
    workshop.running.stopped(tuned.job.id, written(workshop, tuned, "adapter", "last"))

    [last] = kept(workshop, tuned)
    assert (last.number, last.step, weights(workshop, last)) == (1, 4, "last")
    assert files(workshop, tuned) == []


def test_a_job_that_fails_leaves_no_checkpoints(workshop, tuned):
    workshop.running.claim()
    step(workshop, tuned, 4)
    keep(workshop, tuned, 4)
    shown = evaluation(workshop, 4)
    workshop.running.evaluated(tuned.job.id, shown)
    workshop.running.fail(tuned.job.id, Code.INTERNAL, "why")

    assert (kept(workshop, tuned), files(workshop, tuned)) == ((), [])
    # What was measured may say why it failed.
    assert found(workshop, tuned) == (shown,)


def test_checkpoints_are_deleted_with_their_model(workshop, tuned):
    workshop.running.claim()
    step(workshop, tuned, 4)
    keep(workshop, tuned, 4)
    workshop.running.finish(tuned.job.id, written(workshop, tuned, "adapter"))
    workshop.tuning.delete(ADA, tuned.model.id)

    assert files(workshop, tuned) == []
    assert workshop.artifacts.job_ids() == set()
    assert not [*workshop.artifacts.store.root.glob("manifests/checkpoints/*")]


def test_checkpoints_of_a_job_that_the_database_does_not_know_stay(workshop, tuned):
    adapter = written(workshop, tuned, "checkpoints/00000004")
    unknown = workshop.artifacts.checkpoint("gone", 4, 1)
    workshop.artifacts.keep_checkpoint(adapter, unknown)

    assert workshop.running.sweep() == []
    assert workshop.artifacts.store.has(unknown)


def test_evaluations_are_recorded_and_made_again_after_a_crash(workshop, tuned):
    workshop.running.claim()
    step(workshop, tuned, 4)
    assert workshop.running.evaluated(tuned.job.id, evaluation(workshop, 4, 2.0)) is StepReply.CONTINUE
    workshop.running.evaluated(tuned.job.id, evaluation(workshop, 8, 1.0))
    workshop.running.give_back(tuned.job.id, died=True)
    workshop.running.claim()
    workshop.running.resumed(tuned.job.id, 4)
    assert [each.step for each in found(workshop, tuned)] == [4]
    workshop.running.evaluated(tuned.job.id, evaluation(workshop, 4, 2.0))

    assert [(each.step, each.mean_loss) for each in found(workshop, tuned)] == [(4, 2.0)]


def test_a_cancelled_job_is_told_to_stop_when_it_reports(workshop, tuned):
    workshop.running.claim()
    step(workshop, tuned, 4)
    workshop.tuning.cancel(ADA, tuned.model.id)

    assert workshop.running.evaluated(tuned.job.id, evaluation(workshop, 4)) is StepReply.STOP
    assert keep(workshop, tuned, 4) is StepReply.STOP
    assert workshop.job(tuned).state is JobState.RUNNING


def test_a_checkpoint_names_its_job(workshop, tuned):
    workshop.running.claim()
    step(workshop, tuned, 4)
    keep(workshop, tuned, 4)

    assert kept(workshop, tuned) == (
        Checkpoint(
            job_id=tuned.job.id,
            number=1,
            step=4,
            epoch=1,
            artifact=f"checkpoints/{tuned.job.id}/00000004-1",
            metrics={"mean_loss": 0.25},
        ),
    )
