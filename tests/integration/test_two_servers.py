"""Two servers on one database: in one process with their threads, and as processes that are killed and paused."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from sqlalchemy import select

from fakes import InMemoryExecutor
from patience import PATIENCE_SECONDS, wait_until
from tuningfork.domain.errors import Busy
from tuningfork.domain.tuned_model import ModelState
from tuningfork.domain.tuning_job import JobState
from tuningfork.store import leases
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.schema import job_events, tuning_jobs
from workshop import ADA, NUMBER_PAIRS, build_workshop, number_request

pytestmark = pytest.mark.slow

SUPPORT = Path(__file__).parents[1] / "support"

SERVER = """
import sys, threading
from pathlib import Path
from fakes import Clock, InMemoryExecutor
from workshop import build_workshop
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database
url, root, name, lease_seconds, step_seconds = sys.argv[1:]
clock = Clock()
executor = InMemoryExecutor(clock, step_seconds=float(step_seconds))
workshop = build_workshop(
    Database.open(url), Artifacts(Path(root)), clock, executor, server=name, lease_seconds=float(lease_seconds)
)
workshop.dispatcher.start()
print("ready", flush=True)
sys.stdin.readline()
print(*executor.stop_calls, flush=True)
workshop.dispatcher.close()
"""


@pytest.fixture
def start(database_url):
    """Starts a server as a process, over these artifacts; all of them are killed at the end."""
    started = []

    def start(name, root, *, lease_seconds, step_seconds):
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")]),
        }
        arguments = [database_url, str(root), name, str(lease_seconds), str(step_seconds)]
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, *arguments],
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def build(database, clock, tmp_path):
    """Builds a server in this process, with a data directory of its own; all of them are closed at the end."""
    built = []

    def build(name, **options):
        executor = InMemoryExecutor(clock)
        workshop = build_workshop(database, Artifacts(tmp_path / name), clock, executor, server=name, **options)
        built.append(workshop)
        return workshop

    yield build
    for workshop in built:
        workshop.dispatcher.close()


def holder(database, tuned):
    """Which server runs the job now; None if it does not run."""
    with database.read() as connection:
        found = {lease.claim.job_id: lease.claim.server for lease in leases.running(connection)}
    return found.get(tuned.job.id)


def changes(database, tuned):
    """Every change of the job's state so far."""
    with database.read() as connection:
        rows = connection.execute(job_events.select().where(job_events.c.job_id == tuned.job.id))
        return [(row.from_state, row.to_state, row.reason) for row in rows.all()]


def pause(process, database):
    """Stop the process while it holds no lock of the database, without which no other server could take its job."""

    def is_stopped_without_a_lock():
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, what="it stops")
        try:
            with database.for_requests().write() as connection:
                connection.execute(select(tuning_jobs.c.id).with_for_update()).all()
        except Busy:
            process.send_signal(signal.SIGCONT)
            return False
        return True

    wait_until(is_stopped_without_a_lock, what="it is stopped between two writes")


UNDISTURBED = [("queued", "running", ""), ("running", "succeeded", "")]


def test_each_server_trains_its_own_jobs_and_no_other(build, database):
    one, two = build("one"), build("two")
    for server in (one, two):
        server.dispatcher.start()
    made = [(server, server.tuning.create(ADA, number_request())) for server in (one, two) * 4]

    for server, tuned in made:
        done = server.wait_until(JobState.SUCCEEDED, tuned)
        assert done.model.state is ModelState.ACTIVE
        assert changes(database, tuned) == UNDISTURBED
    for server in (one, two):
        trained = {assignment.job_id for assignment in server.executor.assignments}
        assert trained == {tuned.job.id for its_server, tuned in made if its_server is server}


@pytest.mark.parametrize("shared_death", [None, "death"])
@pytest.mark.parametrize("missing", ["examples", "validation set", "adapter that its training goes on from"])
def test_a_job_without_one_of_its_files_waits_with_its_savepoints_until_the_file_is_there(
    build, tmp_path, caplog, missing, shared_death
):
    one = build("one")
    origin = one.tuning.create(ADA, number_request(base_model="models/echo-001"))
    one.advance()
    request = number_request(
        base_model="", tuned_model_source=f"tunedModels/{origin.model.id}", validation=NUMBER_PAIRS[:2]
    )
    tuned = one.tuning.create(ADA, request)
    one.advance(steps=4)
    one.running.give_back(tuned.job.id, died=shared_death is not None, shared_death=shared_death)
    job_id, artifacts = tuned.job.id, one.artifacts
    refs = (artifacts.dataset(job_id), artifacts.validation(job_id), artifacts.source(job_id))
    ref = refs[["examples", "validation set", "adapter that its training goes on from"].index(missing)]
    artifacts.store.path(ref).rename(tmp_path / "elsewhere")
    later = one.tuning.create(ADA, number_request())

    with caplog.at_level("INFO", "tuningfork.dispatcher"):
        one.dispatcher.start()
    one.wait_until(JobState.SUCCEEDED, later)

    [told] = [record for record in caplog.records if getattr(record, "action", "") == "data_missing"]
    assert told.levelname == "WARNING"
    assert told.getMessage() == (
        f"job {job_id} waits: this server has some of its files and lacks its {missing}. Restore what is missing from "
        f"a backup, or cancel or delete tunedModels/{tuned.model.id}"
    )
    assert one.job(tuned).state is JobState.QUEUED
    assert artifacts.store.refs_below(artifacts.work(job_id).below("savepoints"))

    (tmp_path / "elsewhere").rename(artifacts.store.path(ref))
    done = one.wait_until(JobState.SUCCEEDED, tuned)
    assert [taken.step for taken in done.job.snapshots] == list(range(1, 20))
    assert [assignment.job_id for assignment in one.executor.assignments].count(job_id) == 2


def test_a_server_that_starts_does_not_take_what_another_is_training(build, database):
    one = build("one", lease_seconds=20.0)
    tuned = one.tuning.create(ADA, number_request())
    gate = one.executor.hold_before(3)
    one.dispatcher.start()
    gate.wait_until_reached()

    two = build("two", lease_seconds=20.0)
    two.dispatcher.start()
    time.sleep(0.5)
    assert holder(database, tuned) == "one"

    gate.open()
    one.wait_until(JobState.SUCCEEDED, tuned)
    assert changes(database, tuned) == UNDISTURBED
    assert two.executor.assignments == []


def test_a_job_outlives_many_leases_that_its_server_renews(build, database, start, tmp_path):
    # Both have the same artifacts, so that nothing but the lease keeps the second from the job.
    one = build("one", lease_seconds=3.0)
    tuned = one.tuning.create(ADA, number_request())
    gate = one.executor.hold_before(3)
    one.dispatcher.start()
    gate.wait_until_reached()
    start("two", tmp_path / "one", lease_seconds=6.0, step_seconds=0.01)
    time.sleep(10.0)

    assert holder(database, tuned) == "one"
    gate.open()
    one.wait_until(JobState.SUCCEEDED, tuned)
    assert changes(database, tuned) == UNDISTURBED


def test_when_a_server_is_killed_the_other_takes_its_job_over_within_the_lease(build, database, start, tmp_path):
    creator = build("shared")
    # Its job lasts longer than the other server takes to start.
    killed = start("killed", tmp_path / "shared", lease_seconds=4.0, step_seconds=6.0)
    tuned = creator.tuning.create(ADA, number_request())
    wait_until(lambda: creator.job(tuned).completed_steps > 0, what="the first server trains")
    other = start("other", tmp_path / "shared", lease_seconds=4.0, step_seconds=0.01)
    assert holder(database, tuned) == "killed"

    killed.send_signal(signal.SIGKILL)
    killed.wait()
    ended = time.monotonic()
    wait_until(lambda: holder(database, tuned) == "other" or creator.job(tuned).state.is_final, what="it is taken over")
    # The lease, a sixth of it until the next look, and what a busy machine takes for a look.
    assert time.monotonic() - ended < 4.0 + 4.0 / 6 + 25.0

    done = creator.wait_until(JobState.SUCCEEDED, tuned)
    assert [taken.step for taken in done.job.snapshots] == list(range(1, 20))
    assert [(old, new) for old, new, _ in changes(database, tuned)] == [
        ("queued", "running"),
        ("running", "queued"),
        ("queued", "running"),
        ("running", "succeeded"),
    ]
    assert changes(database, tuned)[1][2] == "its server did not renew its lease"
    assert other.poll() is None


def test_a_server_that_was_paused_finds_its_job_taken_and_stops_training_it(build, database, start, tmp_path):
    creator = build("shared")
    paused = start("paused", tmp_path / "shared", lease_seconds=4.0, step_seconds=0.5)
    tuned = creator.tuning.create(ADA, number_request())
    wait_until(lambda: creator.job(tuned).completed_steps > 2, what="the first server trains")
    pause(paused, database)
    start("other", tmp_path / "shared", lease_seconds=4.0, step_seconds=0.5)
    wait_until(lambda: holder(database, tuned) == "other", what="the second server has the job")

    paused.send_signal(signal.SIGCONT)
    done = creator.wait_until(JobState.SUCCEEDED, tuned)
    told_to_stop, _ = paused.communicate("go\n", timeout=PATIENCE_SECONDS)

    assert tuned.job.id in told_to_stop
    assert [taken.step for taken in done.job.snapshots] == list(range(1, 20))
    assert [(old, new) for old, new, _ in changes(database, tuned)] == [
        ("queued", "running"),
        ("running", "queued"),
        ("queued", "running"),
        ("running", "succeeded"),
    ]
