"""Watching a job of very many steps: what is sent is bounded, fast, and no more than was asked for."""

import time

import pytest
from sqlalchemy import event

from speed import slowness
from store_rows import long_job
from tuningfork.domain.snapshot_grid import MOST_SNAPSHOTS

POLL_SECONDS = 0.02
MOST_ANSWER_BYTES = 600_000


@pytest.fixture
def statements(database):
    """Every statement that the database is asked, as it is asked."""
    asked = []
    event.listen(database._engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    return asked


@pytest.mark.parametrize("path", ["tunedModels/long", "tunedModels/long/operations/long-job"])
def test_a_poll_of_a_job_of_many_steps_is_quick_and_small(caller, database, path):
    long_job(database, 100_000)

    answers = []
    seconds = []
    for _ in range(6):
        began = time.process_time()
        answers.append(caller.get(f"/v1beta/{path}"))
        seconds.append(time.process_time() - began)
    caller_seconds = min(seconds_of_nothing(caller) for _ in range(6))

    shown = answers[-1].json().get("tuningTask", answers[-1].json().get("metadata"))["snapshots"]
    assert (shown[0]["step"], shown[-1]["step"]) == (1, 100_000)
    assert len(shown) <= MOST_SNAPSHOTS + 2
    assert len(answers[-1].content) < MOST_ANSWER_BYTES
    assert min(seconds) - caller_seconds < POLL_SECONDS * slowness(), seconds


@pytest.mark.parametrize("part", ["job", "series?afterStep=99950"])
def test_watching_a_job_of_many_steps_is_quick(caller, database, part):
    long_job(database, 100_000)

    seconds = []
    for _ in range(6):
        began = time.process_time()
        answer = caller.get(f"/tuningfork/v1/tunedModels/long/{part}")
        seconds.append(time.process_time() - began)
    caller_seconds = min(seconds_of_nothing(caller) for _ in range(6))

    assert answer.json()["step"] == 100_000
    assert len(answer.content) < 20_000
    assert min(seconds) - caller_seconds < POLL_SECONDS * slowness(), seconds


def seconds_of_nothing(caller):
    """What the test's own way of calling takes."""
    began = time.process_time()
    caller.get("/healthz")
    return time.process_time() - began


def test_a_job_of_a_few_steps_is_shown_whole(caller, database):
    long_job(database, 500)

    snapshots = caller.get("/v1beta/tunedModels/long").json()["tuningTask"]["snapshots"]

    assert [each["step"] for each in snapshots] == list(range(1, 501))


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("tunedModels/long", "name,state"),
        ("tunedModels/long", "tuningTask(startTime,hyperparameters)"),
        ("tunedModels/long/operations/long-job", "name,done"),
        ("tunedModels/long/operations/long-job", "metadata(completedSteps)"),
        ("tunedModels/long/operations", "operations/name"),
        ("operations", "operations(name,done)"),
        ("tunedModels", "tunedModels(name,state),nextPageToken"),
        ("tunedModels", "tuned_models.name"),
    ],
)
def test_snapshots_that_are_not_asked_for_are_not_read(caller, database, statements, path, fields):
    long_job(database, 20)
    caller.get(f"/v1beta/{path}")
    assert any("FROM snapshots" in each for each in statements)
    statements.clear()

    answer = caller.get(f"/v1beta/{path}?fields={fields}")

    assert answer.status_code == 200
    assert answer.json()
    assert not [each for each in statements if "FROM snapshots" in each]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("tunedModels/long", "tuningTask"),
        ("tunedModels/long", "tuning_task.snapshots.step"),
        ("tunedModels/long", "*"),
        ("tunedModels", "tunedModels(tuningTask/snapshots)"),
        ("tunedModels/long/operations/long-job", "metadata.snapshots"),
        ("operations", "operations/metadata"),
    ],
)
def test_snapshots_that_are_asked_for_are_sent(caller, database, path, fields):
    long_job(database, 20)

    answer = caller.get(f"/v1beta/{path}?fields={fields}")

    assert '"step": 20' in answer.text


def test_a_list_of_long_jobs_is_bounded_for_each(caller, database):
    long_job(database, 10 * MOST_SNAPSHOTS)

    [model] = caller.get("/v1beta/tunedModels").json()["tunedModels"]

    assert len(model["tuningTask"]["snapshots"]) <= MOST_SNAPSHOTS + 2
