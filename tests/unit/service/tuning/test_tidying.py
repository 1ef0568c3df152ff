"""What is removed and what is set aside when a server starts, and when a job's row is missing."""

import logging

from fakes import InMemoryExecutor
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.errors import Code
from tuningfork.domain.tuning_job import JobId
from tuningfork.store import file_locks, tuned_models
from tuningfork.store.artifacts import Artifacts
from workshop import ADA, NUMBER_PAIRS, build_workshop, number_request

ORPHAN = JobId("orphan")


def aside(artifacts, kind):
    return sorted(path.name for path in artifacts.store.root.glob(f"set-aside/*/{kind}/*"))


def test_files_of_another_server_whose_row_is_on_its_way_are_left_alone(workshop, artifacts):
    with artifacts.staged_dataset(NUMBER_PAIRS) as dataset:
        artifacts.place_dataset(dataset, ORPHAN)
        assert workshop.running.sweep() == []
        assert artifacts.job_ids() == {ORPHAN}
        assert artifacts.holds(ORPHAN)

    workshop.running.sweep()
    assert aside(artifacts, "datasets") == ["orphan.jsonl"]


def test_weights_that_the_database_does_not_know_stay_in_their_place(workshop, artifacts):
    tuned = workshop.tuning.create(ADA, number_request())
    workshop.advance()
    artifacts.store.share(artifacts.adapter(tuned.job.id), artifacts.adapter(ORPHAN))

    assert workshop.running.sweep() == []
    assert artifacts.store.has(artifacts.adapter(ORPHAN))
    assert artifacts.store.has(artifacts.adapter(tuned.job.id))


def test_an_adapter_that_a_crash_left_before_its_row_is_set_aside_and_made_again(workshop, artifacts):
    tuned = workshop.tuning.create(ADA, number_request())
    workshop.advance(steps=3)
    work = artifacts.work(tuned.job.id).below("adapter")
    with artifacts.store.writing(work) as directory:
        directory.mkdir()
        (directory / "weights").write_text("the former")
    artifacts.install_adapter(tuned.job.id, work)

    workshop.running.requeue_interrupted()
    workshop.running.sweep()

    assert not artifacts.has_adapter(tuned.job.id)
    [former] = artifacts.store.root.glob(f"set-aside/*/adapters/{tuned.job.id}/weights")
    assert former.read_text() == "the former"
    workshop.advance()
    assert artifacts.store.has(artifacts.adapter(tuned.job.id))


def test_work_that_a_crash_left_after_the_end_is_removed(workshop, artifacts):
    tuned = workshop.tuning.create(ADA, number_request())
    workshop.advance()
    artifacts.prepare_work(tuned.job.id)

    workshop.running.sweep()

    assert not artifacts.work_directory(tuned.job.id).exists()
    assert artifacts.store.has(artifacts.adapter(tuned.job.id))


def keep_checkpoint(workshop, job_id, step):
    """Let the job's server keep a checkpoint of this step, and record it if the job is running."""
    work = workshop.artifacts.work(job_id).below(f"kept-{step}")
    with workshop.artifacts.store.writing(work) as directory:
        directory.mkdir()
        (directory / "weights").write_text(str(step))
    workshop.running.checkpoint_kept(job_id, step, 0, work)


def weights(artifacts):
    """The keys of all complete adapters and checkpoints."""
    below = [ArtifactRef("adapters"), *(ArtifactRef(f"checkpoints/{job_id}") for job_id in artifacts.job_ids())]
    return sorted(ref.key for place in below for ref in artifacts.store.refs_below(place))


def started_again(workshop, artifacts):
    """The next life of the server, which knows what is in the database and on the disk."""
    again = build_workshop(
        workshop.database, Artifacts(artifacts.store.root), workshop.clock, InMemoryExecutor(workshop.clock)
    )
    again.running.requeue_interrupted()
    again.running.sweep()
    return again.artifacts


def test_what_a_backup_kept_a_failing_job_from_removing_is_removed_at_the_next_start(workshop, artifacts):
    tuned = workshop.tuning.create(ADA, number_request())
    workshop.advance(steps=3)
    keep_checkpoint(workshop, tuned.job.id, 2)
    work = artifacts.work(tuned.job.id).below("kept-2")
    artifacts.store.share(work, artifacts.adapter(tuned.job.id))
    with file_locks.alone(artifacts.store.root / file_locks.REMOVALS):
        workshop.running.fail(tuned.job.id, Code.INTERNAL, "why")
    assert weights(artifacts) == [f"adapters/{tuned.job.id}", f"checkpoints/{tuned.job.id}/00000002-1"]

    again = started_again(workshop, artifacts)

    assert again.job_ids("work", "adapters", "checkpoints") == set()
    assert not any(artifacts.store.root.glob("manifests/*/*/*"))
    assert again.holds(tuned.job.id)


def test_an_ended_job_keeps_the_weights_that_its_rows_name_and_no_others(workshop, artifacts):
    tuned = workshop.tuning.create(ADA, number_request())
    workshop.advance(steps=3)
    keep_checkpoint(workshop, tuned.job.id, 2)
    workshop.running.give_back(tuned.job.id, died=False)
    workshop.advance()
    named = weights(artifacts)
    assert named == [f"adapters/{tuned.job.id}", f"checkpoints/{tuned.job.id}/00000002-1"]
    checkpoints = artifacts.store.root / "checkpoints" / tuned.job.id
    artifacts.store.share(artifacts.adapter(tuned.job.id), artifacts.checkpoint(tuned.job.id, 3, 1))
    (checkpoints / "00000004-1.aside").mkdir()
    (checkpoints / ".DS_Store").touch()

    again = started_again(workshop, artifacts)

    assert weights(again) == named
    assert sorted(path.name for path in checkpoints.iterdir()) == [".DS_Store", "00000002-1"]


def test_weights_without_a_row_stay_if_their_job_has_not_ended_or_is_unknown(workshop, artifacts):
    done = workshop.tuning.create(ADA, number_request())
    workshop.advance()
    waiting = workshop.tuning.create(ADA, number_request())
    workshop.advance(steps=3)
    for job_id in (waiting.job.id, ORPHAN):
        artifacts.store.share(artifacts.adapter(done.job.id), artifacts.checkpoint(job_id, 3, 1))

    again = started_again(workshop, artifacts)

    for job_id in (waiting.job.id, ORPHAN):
        assert again.store.has(artifacts.checkpoint(job_id, 3, 1))


def test_what_cannot_be_moved_stays_and_is_told(workshop, artifacts, caplog):
    artifacts.write_dataset(ORPHAN, NUMBER_PAIRS)
    (artifacts.store.root / "set-aside").write_text("in the way")

    workshop.running.sweep()

    assert artifacts.holds(ORPHAN)
    [line] = [record for record in caplog.records if getattr(record, "action", "") == "files_left"]
    assert "orphan" in line.getMessage()
    assert line.levelno == logging.WARNING


def test_a_running_job_that_its_database_has_forgotten_keeps_its_files(workshop, artifacts, caplog):
    """As when a server's database is replaced by an older one while the server runs."""
    tuned = workshop.tuning.create(ADA, number_request())
    workshop.advance(steps=3)
    with workshop.database.write() as connection:
        tuned_models.delete(connection, tuned.model.id)

    workshop.running.give_back(tuned.job.id, died=False)

    assert artifacts.holds(tuned.job.id)
    assert artifacts.work_directory(tuned.job.id).exists()
    [line] = [record for record in caplog.records if getattr(record, "action", "") == "job_unknown"]
    assert "its files stay" in line.getMessage()


def test_a_running_job_that_was_deleted_leaves_nothing(workshop, artifacts):
    tuned = workshop.tuning.create(ADA, number_request())
    workshop.advance(steps=3)
    workshop.tuning.delete(ADA, tuned.model.id)
    assert artifacts.work_directory(tuned.job.id).exists()

    workshop.running.give_back(tuned.job.id, died=False)

    assert artifacts.job_ids() == set()
    assert not (artifacts.store.root / "set-aside").exists()
