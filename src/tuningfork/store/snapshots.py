"""The table of snapshots: one row a step, thinned as `domain/snapshot_grid.py` says where a job has many steps."""

import threading
from collections.abc import Collection, Mapping
from datetime import datetime
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, Select, String, and_, literal, select, type_coerce, union

from tuningfork.domain.hyperparameters import total_steps_of
from tuningfork.domain.snapshot_grid import MOST_SNAPSHOTS, SnapshotGrid
from tuningfork.domain.tuning_job import JobId, JobState, Snapshot, TuningJob
from tuningfork.store.column_types import in_utc
from tuningfork.store.schema import snapshots, tuning_jobs

_MOST_ROWS = MOST_SNAPSHOTS + 2
"""The most snapshots that a job has now: those on its grid, the first and the last."""

_REMEMBERED_JOBS = 16
"""The jobs whose snapshots stay in memory, at most some 500 KB each."""

_SHOWN = (
    snapshots.c.step,
    snapshots.c.epoch,
    snapshots.c.mean_loss,
    # Thousands of rows are read at a time, so the time is taken as the driver gives it: see `_time_of`.
    type_coerce(snapshots.c.compute_time, String).label("compute_time"),
    snapshots.c.targets,
    snapshots.c.right_targets,
)

_SIZES = (tuning_jobs.c.example_count, tuning_jobs.c.epoch_count, tuning_jobs.c.batch_size)


def append_snapshot(connection: Connection, job_id: JobId, snapshot: Snapshot) -> bool | None:
    """Add a running job's next snapshot. A step beyond the furthest so far resets the count of attempts.

    The snapshot before it is removed if it is not on the job's grid.

    Returns:
        Whether the job's cancellation is requested; None, and nothing is written, if it is gone or not running.

    """
    columns = (tuning_jobs.c.furthest_step, tuning_jobs.c.cancel_requested, tuning_jobs.c.completed_steps, *_SIZES)
    running = select(*columns).where(tuning_jobs.c.id == job_id, tuning_jobs.c.state == JobState.RUNNING.value)
    row = connection.execute(running.with_for_update()).first()
    if row is None:
        return None
    furthest_step, cancel_requested, before, *sizes = row
    if before and not SnapshotGrid.of(total_steps_of(*sizes)).holds(before):
        connection.execute(snapshots.delete().where(snapshots.c.job_id == job_id, snapshots.c.step == before))
    connection.execute(snapshots.insert(), _row(job_id, snapshot))
    progress: dict[str, object] = {"completed_steps": snapshot.step, "last_loss": snapshot.mean_loss}
    if snapshot.step > furthest_step:
        progress |= {"furthest_step": snapshot.step, "attempts": 0}
    connection.execute(tuning_jobs.update().where(tuning_jobs.c.id == job_id).values(progress))
    return bool(cancel_requested)


def snapshots_of(connection: Connection, job: TuningJob, *, after_step: int = 0) -> tuple[Snapshot, ...]:
    """The snapshots of a job that are on its grid, and its last one, in the order of their steps, those after a step.

    Takes time that does not grow with the number of steps, also where an earlier version has stored all of them. Of a
    job that is read again and again, while somebody polls, only what is new is read.
    """
    if after_step:
        return _read(connection, job, after_step)
    remembered = _remembered(connection)
    known = remembered.get(job.id)
    taken = _read_on(connection, job, known) if known else _read(connection, job, 0)
    remembered.put(job.id, taken)
    return taken


def _read_on(connection: Connection, job: TuningJob, known: tuple[Snapshot, ...]) -> tuple[Snapshot, ...]:
    """The snapshots of a job; those in `known` were read before, and only the missing ones are read now.

    A job that resumes goes back to an earlier step: its later snapshots are removed, and made again at other times. So
    if the last known snapshot on the grid is still in the database, so are all those before it.
    """
    grid = SnapshotGrid.of(job.total_steps)
    lasting = known if grid.holds(known[-1].step) else known[:-1]
    if not lasting:
        return _read(connection, job, 0)
    fresh = _read(connection, job, lasting[-1].step - 1)
    return lasting[:-1] + fresh if fresh[:1] == lasting[-1:] else _read(connection, job, 0)


def _read(connection: Connection, job: TuningJob, after_step: int) -> tuple[Snapshot, ...]:
    query = select(*_SHOWN).where(snapshots.c.job_id == job.id).order_by(snapshots.c.step)
    rows = connection.execute(query.where(snapshots.c.step > after_step).limit(_MOST_ROWS + 1)).all()
    if len(rows) > _MOST_ROWS:
        grid = SnapshotGrid.of(job.total_steps)
        on_grid = snapshots.c.step.in_(_shown_steps(grid, job.completed_steps, after_step))
        rows = connection.execute(query.where(on_grid)).all()
    return tuple(
        [
            _snapshot(step, epoch, mean_loss, _time_of(compute_time), targets, right_targets)
            for step, epoch, mean_loss, compute_time, targets, right_targets in rows
        ]
    )


def _time_of(stored: str | datetime) -> datetime:
    """A stored time in UTC. SQLite's is a text without a zone, PostgreSQL's driver gives a time.

    This takes a third of the processor time that SQLAlchemy's type and `datetime.replace` take.
    """
    return datetime.fromisoformat(f"{stored}+00:00") if isinstance(stored, str) else in_utc(stored)


class _Remembered:
    """The snapshots of the jobs of a database that were read last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: dict[JobId, tuple[Snapshot, ...]] = {}

    def get(self, job_id: JobId) -> tuple[Snapshot, ...] | None:
        return self._taken.get(job_id)

    def put(self, job_id: JobId, taken: tuple[Snapshot, ...]) -> None:
        with self._lock:
            self._taken.pop(job_id, None)
            self._taken[job_id] = taken
            if len(self._taken) > _REMEMBERED_JOBS:
                del self._taken[next(iter(self._taken))]


_of_databases: WeakKeyDictionary[Engine, _Remembered] = WeakKeyDictionary()


def _remembered(connection: Connection) -> _Remembered:
    return _of_databases.setdefault(connection.engine, _Remembered())


def mean_loss_at(connection: Connection, job_id: JobId, step: int) -> float | None:
    """The mean loss of this step, in nats per trained token; None if the job has no snapshot of it."""
    query = select(snapshots.c.mean_loss).where(snapshots.c.job_id == job_id, snapshots.c.step == step)
    return connection.execute(query).scalar()


def snapshots_of_jobs(connection: Connection, jobs: Collection[TuningJob]) -> Mapping[JobId, tuple[Snapshot, ...]]:
    """The snapshots of each of these jobs, as `snapshots_of` gives them; a job without any is left out."""
    whole = {job.id for job in jobs if not SnapshotGrid.of(job.total_steps).is_thinned}
    query = select(snapshots).where(snapshots.c.job_id.in_(whole)).order_by(snapshots.c.job_id, snapshots.c.step)
    found: dict[JobId, list[Snapshot]] = {}
    for job_id, *row in connection.execute(query) if whole else ():
        found.setdefault(JobId(job_id), []).append(_snapshot(*row))
    thinned = {job.id: snapshots_of(connection, job) for job in jobs if job.id not in whole}
    return {job_id: tuple(taken) for job_id, taken in {**found, **thinned}.items() if taken}


def drop_snapshots(connection: Connection, job_id: JobId, *, after_step: int) -> None:
    """Remove the snapshots of later steps, and set the job's progress to the last that remains."""
    connection.execute(snapshots.delete().where(snapshots.c.job_id == job_id, snapshots.c.step > after_step))
    _note_progress(connection, job_id)


def add_missing_snapshots(connection: Connection, job_id: JobId, known: Collection[Snapshot]) -> None:
    """Add those of these snapshots whose step has none yet and which are on the job's grid or the last.

    The job's progress becomes that of its last snapshot, and earlier ones that are not on the grid are removed.
    """
    sizes = connection.execute(select(*_SIZES).where(tuning_jobs.c.id == job_id)).first()
    if sizes is None:
        return
    grid = SnapshotGrid.of(total_steps_of(*sizes))
    steps = set(connection.execute(select(snapshots.c.step).where(snapshots.c.job_id == job_id)).scalars())
    wanted = grid.thin(sorted(known, key=lambda each: each.step))
    if missing := [_row(job_id, each) for each in wanted if each.step not in steps]:
        connection.execute(snapshots.insert(), missing)
    last = max(steps | {each.step for each in wanted}, default=0)
    if grid.is_thinned:
        off_grid = and_(snapshots.c.step > 1, snapshots.c.step < last, snapshots.c.step % grid.every != 0)
        connection.execute(snapshots.delete().where(snapshots.c.job_id == job_id, off_grid))
    if missing:
        _note_progress(connection, job_id)


def _shown_steps(grid: SnapshotGrid, last: int, after_step: int) -> Select[tuple[int]]:
    """The steps of a thinned job that are shown. Each is looked up by itself, so that no other row is read."""
    steps = select(literal(grid.every).label("step")).cte("grid", recursive=True)
    steps = steps.union_all(select(steps.c.step + grid.every).where(steps.c.step + grid.every <= last))
    shown = union(select(steps.c.step), select(literal(1)), select(literal(last))).subquery("shown")
    return select(shown.c.step).where(shown.c.step > after_step)


def _note_progress(connection: Connection, job_id: JobId) -> None:
    """Set the job's completed steps and last loss to those of its last snapshot."""
    last = select(snapshots.c.step, snapshots.c.mean_loss).where(snapshots.c.job_id == job_id)
    row = connection.execute(last.order_by(snapshots.c.step.desc()).limit(1)).first()
    step, mean_loss = (0, None) if row is None else row
    change = tuning_jobs.update().where(tuning_jobs.c.id == job_id)
    connection.execute(change.values(completed_steps=step, last_loss=mean_loss))


def _row(job_id: JobId, snapshot: Snapshot) -> dict[str, object]:
    return {
        "job_id": job_id,
        "step": snapshot.step,
        "epoch": snapshot.epoch,
        "mean_loss": snapshot.mean_loss,
        "compute_time": snapshot.compute_time,
        "targets": snapshot.targets,
        "right_targets": snapshot.right_targets,
    }


def _snapshot(
    step: int, epoch: int, mean_loss: float, compute_time: datetime, targets: int | None, right_targets: int | None
) -> Snapshot:
    return Snapshot(
        step=step,
        epoch=epoch,
        mean_loss=mean_loss,
        compute_time=compute_time,
        targets=targets,
        right_targets=right_targets,
    )
