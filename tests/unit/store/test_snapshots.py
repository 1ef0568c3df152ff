"""What is kept and shown of a job's steps, however many there are."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event, func, select

from store_rows import NOW, keep, new_job
from tuningfork.domain.snapshot_grid import MOST_SNAPSHOTS, SnapshotGrid
from tuningfork.domain.tuning_job import JobState, Snapshot
from tuningfork.store import schema, snapshots, tuning_jobs


def job_of(total_steps, name="a"):
    job = new_job(name)
    hyperparameters = replace(job.hyperparameters, epoch_count=1, batch_size=1)
    return replace(job, hyperparameters=hyperparameters, example_count=total_steps)


def snapshot(step):
    return Snapshot(step=step, epoch=0, mean_loss=1.5 / step, compute_time=NOW + timedelta(microseconds=step))


def run(database, job, steps):
    """Take these steps of a job that is kept already."""
    with database.write() as connection:
        tuning_jobs.move(connection, job.id, JobState.RUNNING, NOW)
        for step in steps:
            snapshots.append_snapshot(connection, job.id, snapshot(step))


def shown(database, job):
    with database.read() as connection:
        return [each.step for each in snapshots.snapshots_of(connection, tuning_jobs.find(connection, job.id))]


def stored(database):
    with database.read() as connection:
        return list(connection.execute(select(schema.snapshots.c.step).order_by(schema.snapshots.c.step)).scalars())


def test_a_job_of_some_thousands_of_steps_keeps_the_snapshot_of_each(database):
    job = keep(database, job_of(MOST_SNAPSHOTS))
    run(database, job, range(1, 101))

    assert shown(database, job) == list(range(1, 101))


def test_the_predictions_of_a_step_are_kept_and_those_of_earlier_versions_are_unknown(database):
    job = keep(database, job_of(10))
    known = replace(snapshot(1), targets=12, right_targets=7)
    with database.write() as connection:
        tuning_jobs.move(connection, job.id, JobState.RUNNING, NOW)
        for each in (known, snapshot(2)):
            snapshots.append_snapshot(connection, job.id, each)

    with database.read() as connection:
        found = tuning_jobs.find(connection, job.id)
        assert snapshots.snapshots_of(connection, found) == (known, snapshot(2))
        assert snapshots.snapshots_of_jobs(connection, [found]) == {job.id: (known, snapshot(2))}


def test_a_long_job_keeps_the_first_step_those_on_its_grid_and_the_last(database):
    job = keep(database, job_of(10 * MOST_SNAPSHOTS))

    run(database, job, range(1, 38))

    assert shown(database, job) == [1, 10, 20, 30, 37]
    assert stored(database) == [1, 10, 20, 30, 37]


def test_a_snapshot_on_the_grid_stays_for_as_long_as_the_job(database):
    job = keep(database, job_of(10 * MOST_SNAPSHOTS))
    run(database, job, range(1, 21))
    before = shown(database, job)
    run(database, job, range(21, 66))

    assert set(before) < set(shown(database, job))


@pytest.mark.parametrize("total", [1, 1_999, 2_000, 2_001, 100_000, 1_000_000])
def test_a_grid_has_no_more_than_its_most_steps(total):
    grid = SnapshotGrid.of(total)

    assert len(range(grid.every, total + 1, grid.every)) <= MOST_SNAPSHOTS
    assert grid.holds(1)
    assert grid.is_thinned == (total > MOST_SNAPSHOTS)


def test_progress_is_that_of_the_last_step_on_the_grid_or_not(database):
    job = keep(database, job_of(10 * MOST_SNAPSHOTS))
    run(database, job, range(1, 38))

    with database.read() as connection:
        now = tuning_jobs.find(connection, job.id)
    assert (now.completed_steps, now.last_loss) == (37, snapshot(37).mean_loss)


def test_a_job_that_resumes_between_two_places_of_its_grid_is_where_it_was(database):
    job = keep(database, job_of(10 * MOST_SNAPSHOTS))
    run(database, job, range(1, 38))

    with database.write() as connection:
        snapshots.drop_snapshots(connection, job.id, after_step=35)
        snapshots.add_missing_snapshots(connection, job.id, [snapshot(step) for step in range(1, 36)])
        now = tuning_jobs.find(connection, job.id)

    assert now.completed_steps == 35
    assert stored(database) == [1, 10, 20, 30, 35]


def keep_all_steps(database, job, steps):
    """Store every snapshot, as an earlier version did."""
    rows = [{"job_id": job.id, "step": each, "epoch": 0, "mean_loss": 1.0, "compute_time": NOW} for each in steps]
    with database.write() as connection:
        connection.execute(schema.snapshots.insert(), rows)


def test_steps_that_an_earlier_version_kept_are_not_shown(database):
    job = keep(database, job_of(10 * MOST_SNAPSHOTS))
    keep_all_steps(database, job, range(1, 3_008))

    with database.read() as connection:
        taken = snapshots.snapshots_of(connection, replace(job, completed_steps=3_007))

    assert [each.step for each in taken] == [1, *range(10, 3_007, 10), 3_007]


def test_steps_that_an_earlier_version_kept_go_when_the_job_resumes(database):
    job = keep(database, job_of(10 * MOST_SNAPSHOTS))
    keep_all_steps(database, job, range(1, 38))

    with database.write() as connection:
        snapshots.drop_snapshots(connection, job.id, after_step=36)
        snapshots.add_missing_snapshots(connection, job.id, ())

    assert stored(database) == [1, 10, 20, 30, 36]


def test_lists_show_of_each_job_what_it_shows_alone(database):
    long = keep(database, job_of(10 * MOST_SNAPSHOTS, "long"))
    short = keep(database, job_of(20, "short"))
    keep(database, job_of(20, "new"))
    run(database, long, range(1, 15))
    run(database, short, range(1, 4))

    with database.read() as connection:
        jobs = tuning_jobs.of_models(connection, ["long", "short", "new"])
        found = snapshots.snapshots_of_jobs(connection, jobs.values())

    assert {job_id: [each.step for each in taken] for job_id, taken in found.items()} == {
        long.id: [1, 10, 14],
        short.id: [1, 2, 3],
    }


def test_no_row_beside_those_that_are_shown_is_read(database):
    job = keep(database, job_of(1_000_000))
    if database._engine.dialect.name != "sqlite":
        pytest.skip("SQLite's plan")
    keep_all_steps(database, job, range(1, MOST_SNAPSHOTS + 10))
    statements = []
    with database.read() as connection:
        event.listen(connection, "before_cursor_execute", lambda *args: statements.append(args[2:4]))
        snapshots.snapshots_of(connection, replace(job, completed_steps=1_000_000))
        bounded, on_grid = statements
        plan = " ".join(str(row) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {on_grid[0]}", on_grid[1]))

    assert "LIMIT" in bounded[0]
    assert "job_id=? AND step=?" in plan


def test_how_many_rows_a_job_of_many_steps_leaves_is_bounded(database):
    job = keep(database, job_of(100 * MOST_SNAPSHOTS))
    run(database, job, range(1, 1_001))

    with database.read() as connection:
        count = connection.execute(select(func.count()).select_from(schema.snapshots)).scalar_one()
    assert count == 1 + 10


def test_what_was_read_before_is_read_anew_when_a_job_went_back_behind_it(database):
    job = keep(database, job_of(20))
    run(database, job, range(1, 8))
    assert shown(database, job) == [1, 2, 3, 4, 5, 6, 7]

    again = [replace(snapshot(step), compute_time=NOW + timedelta(hours=1), mean_loss=9.0) for step in range(4, 10)]
    with database.write() as connection:
        snapshots.drop_snapshots(connection, job.id, after_step=3)
        for each in again:
            snapshots.append_snapshot(connection, job.id, each)
        taken = snapshots.snapshots_of(connection, job)

    assert taken == (snapshot(1), snapshot(2), snapshot(3), *again)


def test_a_poll_reads_what_is_new(database):
    job = keep(database, job_of(10 * MOST_SNAPSHOTS))
    run(database, job, range(1, 38))
    assert shown(database, job) == [1, 10, 20, 30, 37]
    run(database, job, range(38, 45))

    parameters = []
    with database.read() as connection:
        event.listen(connection, "before_cursor_execute", lambda *args: parameters.append(args[3]))
        taken = snapshots.snapshots_of(connection, job)

    assert [each.step for each in taken] == [1, 10, 20, 30, 40, 44]
    assert len(parameters) == 1
    assert 29 in (parameters[0].values() if isinstance(parameters[0], dict) else parameters[0])
