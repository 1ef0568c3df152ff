"""What older databases hold is brought along."""

import subprocess
import sys

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, create_engine, select, text
from sqlalchemy.exc import IntegrityError

from patience import PATIENCE_SECONDS
from tuningfork.domain.checkpoint import Checkpoint, endpoint_number
from tuningfork.domain.errors import FailedPrecondition
from tuningfork.domain.ids import number_of
from tuningfork.domain.permission import Email, Principal
from tuningfork.domain.tuned_model import DEFAULT_LOCATION
from tuningfork.domain.tuning_job import JobState
from tuningfork.store import checkpoints, leases, migrating, schema, tuned_models, tuning_jobs
from tuningfork.store.database import Database
from tuningfork.store.tuned_models import Search

MODEL = "INSERT INTO tuned_models VALUES (:id, 'models/x', '', '', '', 'ACTIVE', :time, :time, 1, 1, NULL, '[7]', NULL)"


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'old.db'}"


def migrate(url, revision, *statements):
    """Bring a new database to this revision, and write into it."""
    engine = create_engine(url)
    config = Config()
    config.set_main_option("script_location", "tuningfork.store:migrations")
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for statement, values in statements:
            connection.execute(text(statement), values)
    engine.dispose()


def test_models_of_an_older_database_are_listed_in_their_order(url):
    times = {"b": "2024-03-14 15:09:04.000000", "a": "2024-03-14 15:09:05.000000", "c": "2024-03-14 15:09:06.000000"}
    grants = "INSERT INTO permissions VALUES (:id, 'p', 'USER', 'ada@example.com', 'OWNER')"
    projects = "INSERT INTO reader_projects VALUES (:id, 7)"
    migrate(
        url,
        "0002",
        *((MODEL, {"id": name, "time": made}) for name, made in times.items()),
        *((grants, {"id": name}) for name in "ab"),
        *((projects, {"id": name}) for name in "bc"),
    )

    database = Database.open(url)
    with database.read() as connection:
        ada = Principal(email=Email("ada@example.com"), project="7")
        pages = [tuned_models.search(connection, Search(principal=ada, limit=limit)) for limit in (1, 9)]
    database.close()

    assert [[model.id for model in page] for page in pages] == [["b"], ["b", "a", "c"]]


JOB = (
    "INSERT INTO tuning_jobs VALUES (:id, :id, 'models/x', :job_state, :cancelled, 0, :steps, 1, 1, 0.001, NULL, "
    "8, 32, 4, 1, :time, :start, :complete, :code, :message, :created_by)"
)

STATES = ("queued", "running", "succeeded", "failed", "cancelled_early", "cancelled", "untouched")
"""One job of each state as version 0.1 left them; cancelled ones with and without weights, waiting ones with steps."""

ACTIVE = ("succeeded", "cancelled")
STEPS = {"queued": 2, "running": 2, "succeeded": 3, "failed": 1, "cancelled": 2}


def rows_of_version_0_1():
    """One model, job, owner and key for each of `STATES`, and the snapshots of those that took steps."""
    time = "2024-03-14 15:09:04.000000+00"
    key = "INSERT INTO api_keys VALUES ('key-1', 'k', 'bob@example.com', 'bobs', 'tf', 'h1', :time, NULL)"
    yield key, {"time": time}
    yield key.replace("key-1", "key-2").replace("h1", "h2").replace("'bobs'", "'other'"), {"time": time}
    for name in STATES:
        state = {"cancelled_early": "cancelled", "untouched": "queued"}.get(name, name)
        final = state in ("succeeded", "failed", "cancelled")
        model_state = "ACTIVE" if name in ACTIVE else "FAILED" if final else "CREATING"
        values = {"id": name, "state": model_state, "time": time, "owner": f"{name}@example.com"}
        yield MODEL.replace("'ACTIVE'", ":state"), values
        yield (
            "INSERT INTO permissions VALUES (:id, 'p', 'USER', :owner, 'OWNER', :time)",
            {**values, "owner": "me@localhost" if name == "queued" else "bob@example.com"},
        )
        yield (
            JOB,
            {
                **values,
                "job_state": state,
                "cancelled": state == "cancelled",
                "steps": STEPS.get(name, 0),
                "start": None if name == "untouched" else time,
                "complete": time if final else None,
                "code": 13 if state in ("failed", "cancelled") else None,
                "message": "why" if state in ("failed", "cancelled") else None,
                "created_by": "key-2" if name == "running" else "",
            },
        )
        for step in range(1, STEPS.get(name, 0) + 1):
            yield (
                "INSERT INTO snapshots VALUES (:id, :step, :epoch, :loss, :time)",
                {"id": name, "step": step, "epoch": step - 1, "loss": 8.0 / step, "time": time},
            )


def test_jobs_in_every_state_are_brought_along(database_url):
    migrate(database_url, "0003", *rows_of_version_0_1())

    database = Database.open(database_url)
    with database.read() as connection:
        models = {name: tuned_models.find(connection, name) for name in STATES}
        jobs = {name: tuning_jobs.find(connection, name) for name in STATES}
        kept = {name: checkpoints.checkpoints_of(connection, name) for name in STATES}
        running = leases.running(connection)
    database.close()

    assert {name: job.completed_steps for name, job in jobs.items()} == {name: STEPS.get(name, 0) for name in STATES}
    assert {name: job.last_loss for name, job in jobs.items() if job.completed_steps} == {
        name: 8.0 / steps for name, steps in STEPS.items()
    }
    assert jobs["untouched"].last_loss is None
    assert [model.default_checkpoint for model in models.values()] == [1 if name in ACTIVE else None for name in STATES]
    assert {name: found for name, found in kept.items() if found} == {
        name: (
            Checkpoint(
                job_id=name,
                number=1,
                step=STEPS[name],
                epoch=STEPS[name] - 1,
                artifact=f"adapters/{name}",
                metrics={"mean_loss": 8.0 / STEPS[name]},
            ),
        )
        for name in ACTIVE
    }
    # That of the key that created it, else of its owner's first key, else that of a server without keys.
    projects = {name: model.project for name, model in models.items()}
    assert projects == {**dict.fromkeys(STATES, "bobs"), "running": "other", "queued": "local"}
    assert {(job.project, job.location) for job in jobs.values()} == {
        (project, DEFAULT_LOCATION) for project in projects.values()
    }
    # Nobody wrote down who runs it: the next server that starts queues it again.
    assert [(lease.claim.job_id, lease.claim.server) for lease in running] == [("running", None)]
    assert jobs["running"].state is JobState.RUNNING


def test_a_database_of_revision_8_keeps_every_row_and_gets_numbers(database_url):
    statements = [*rows_of_version_0_1()]
    migrate(database_url, "0003", *statements)
    migrate(database_url, "0008", *((statement, {}) for statement in ROWS_OF_REVISION_8))
    before = rows_in(database_url)

    Database.open(database_url).close()

    after = rows_in(database_url)
    assert before["snapshots"]
    # Tables of later revisions are empty.
    assert {table: len(rows) for table, rows in after.items() if rows or table in before} == {
        table: len(rows) for table, rows in before.items()
    }
    for table, rows in before.items():
        for old, new in zip(rows, after[table], strict=True):
            assert {name: new[name] for name in old} == old
    # That of its only evaluation.
    best = {row["id"]: row["best_validation_loss"] for row in after["tuning_jobs"]}
    assert best == {**dict.fromkeys(STATES), "succeeded": 0.5}
    numbers = [(row["number"], row["registry_model"], row["version"]) for row in after["tuned_models"]]
    assert numbers == [(number_of(name), number_of(name), 1) for name in sorted(STATES)]
    assert [row["endpoint"] for row in after["checkpoints"]] == [
        endpoint_number(row["job_id"], row["number"]) for row in after["checkpoints"]
    ]


ROWS_OF_REVISION_8 = (
    "INSERT INTO evaluations VALUES ('succeeded', 3, 1, 0.5, 10, 7, '2024-03-14 15:09:04')",
    "INSERT INTO suspects VALUES ('queued', 'a death', 1, 3)",
    "INSERT INTO job_events VALUES (1, 'succeeded', 'queued', 'running', '2024-03-14 15:09:04', '')",
    "INSERT INTO reader_projects (model_id, project_number) VALUES ('succeeded', 7)",
)
"""Rows of tables that refer to jobs and models; dropping the former tables would delete them."""


def rows_in(url):
    """Every row of every table, in the order of the primary keys."""
    engine = create_engine(url)
    found = MetaData()
    found.reflect(engine)
    with engine.connect() as connection:
        rows = {
            table.name: [dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()]
            for table in found.sorted_tables
            if table.name != "alembic_version"
        }
    engine.dispose()
    return rows


def test_a_migrated_database_enforces_its_foreign_keys_and_states(url):
    migrate(url, "0003", *rows_of_version_0_1())
    database = Database.open(url)

    with database.write() as connection:
        tuned_models.delete(connection, "succeeded")
        assert checkpoints.checkpoints_of(connection, "succeeded") == ()
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(text("UPDATE tuning_jobs SET state = 'asleep' WHERE id = 'queued'"))
    with database.write() as connection:
        connection.execute(text("UPDATE tuning_jobs SET state = 'preparing' WHERE id = 'queued'"))
    database.close()


def test_a_database_with_a_row_that_refers_to_nothing_is_not_migrated(url):
    lost = "INSERT INTO snapshots VALUES ('nobody', 1, 0, 1.0, '2024-03-14 15:09:04')"
    migrate(url, "0008", (lost, {}))

    with pytest.raises(FailedPrecondition, match="a row of its table snapshots refers to a row of tuning_jobs"):
        Database.open(url)

    engine = create_engine(url)
    with engine.connect() as connection:
        assert migrating.revision_of(connection) == "0008"
    engine.dispose()


def test_the_newest_revision_is_that_of_the_last_migration():
    config = Config()
    config.set_main_option("script_location", "tuningfork.store:migrations")
    config.set_main_option("path_separator", "os")

    assert migrating.newest_revision() == ScriptDirectory.from_config(config).get_current_head()


def test_tables_of_this_version_are_opened_without_the_packages_that_migrate(url):
    Database.open(url).close()
    program = f"import sys; from tuningfork.store.database import Database; Database.open({url!r}).close()"

    ended = subprocess.run(
        [sys.executable, "-c", f"{program}; print('alembic' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )

    assert ended.stdout == "False\n"


def test_the_tables_of_a_migrated_database_are_those_of_the_schema(database_url):
    Database.open(database_url).close()
    engine = create_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        found = compare_metadata(context, schema.metadata)
    engine.dispose()

    assert found == []
