"""A server starts only with a database that knows the weights in its data directory, and overwrites nothing."""

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fakes import Clock, InMemoryExecutor
from patience import paths_below
from tuningfork.cli import app
from tuningfork.domain.permission import LOCAL_PRINCIPAL
from tuningfork.server.belonging import artifacts_of, begin_anew
from tuningfork.server.compose import compose
from tuningfork.server.data_directory import StartError, open_access
from tuningfork.settings import Settings
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database
from workshop import build_workshop, number_request


def settings_of(directory, **others):
    return Settings(data_dir=directory, port=0, **others)


@pytest.fixture
def settings(tmp_path, migrated_sqlite_file):
    """Of a data directory that a server has been started on."""
    settings = settings_of(tmp_path / "data")
    settings.data_dir.mkdir()
    shutil.copy(migrated_sqlite_file, database_file(settings))
    with compose(settings):
        pass
    return settings


def database_file(settings):
    return settings.data_dir / "tuningfork.db"


def tune(settings, *, steps=None):
    """A model that has been tuned to its end, or for so many steps; the id of its job."""
    database = Database.open(settings.resolved_database_url)
    workshop = build_workshop(database, Artifacts(settings.data_dir), Clock(), InMemoryExecutor(Clock()))
    tuned = workshop.tuning.create(LOCAL_PRINCIPAL, number_request())
    if steps != 0:
        workshop.advance(steps)
    database.close()
    return tuned.job.id


def contents(directory):
    """Every file but those that SQLite and locks come with, and what is in it."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in paths_below(directory)
        if path.is_file()
        and path.parent.name != "locks"
        and path.name != "disk-reserve"
        and not path.name.endswith((".lock", ".db", ".db-wal", ".db-shm"))
    }


def other_database(directory):
    """The URL of a database without rows."""
    url = f"sqlite:///{directory / 'other.db'}"
    Database.open(url).close()
    return url


def copied(settings, to):
    """A copy of the database, as an operator makes one of a server that is not running."""
    shutil.copy(database_file(settings), to)
    return to


def start(settings):
    """Start a server and let its dispatcher look at the files, as `run` does."""
    with compose(settings) as server:
        server._dispatcher.start()
        server._dispatcher.close()


def test_a_first_start_binds_the_directory_to_its_database_and_later_starts_keep_it(settings):
    first = (settings.data_dir / "database-id").read_text()
    start(settings)

    with sqlite3.connect(database_file(settings)) as connection:
        assert connection.execute("SELECT id FROM database_identity").fetchall() == [(first.strip(),)]
    assert (settings.data_dir / "database-id").read_text() == first


def test_an_empty_database_beside_adapters_is_refused_and_nothing_changes(settings):
    job = tune(settings)
    database_file(settings).unlink()
    Database.open(settings.resolved_database_url).close()
    before = contents(settings.data_dir)

    with pytest.raises(StartError) as refused:
        start(settings)

    assert contents(settings.data_dir) == before
    said = str(refused.value)
    assert f"holds files of job {job}, which the database" in said
    assert "belongs to the database" in said
    assert "Nothing was changed" in said
    for cure in (
        "TUNINGFORK_DATABASE_URL",
        "tuningfork restore",
        f"tuningfork set-aside --data-dir {settings.data_dir}",
    ):
        assert cure in said


def test_an_empty_database_elsewhere_is_refused_too(settings, tmp_path):
    tune(settings)
    before = contents(settings.data_dir)
    other = settings_of(settings.data_dir, database_url=other_database(tmp_path))

    with pytest.raises(StartError, match="belongs to the database"):
        start(other)

    assert contents(settings.data_dir) == before


def test_another_database_is_refused_even_where_only_examples_and_work_would_be_orphaned(settings, tmp_path):
    tune(settings, steps=2)
    before = contents(settings.data_dir)

    with pytest.raises(StartError, match="belongs to the database"):
        start(settings_of(settings.data_dir, database_url=other_database(tmp_path)))

    assert contents(settings.data_dir) == before


def test_a_missing_database_beside_adapters_is_refused_before_an_empty_one_is_made(settings):
    tune(settings)
    database_file(settings).unlink()
    before = contents(settings.data_dir)

    for opened in (open_access, compose):
        with pytest.raises(StartError, match=r"but there is no database .*tuningfork\.db\. Nothing was changed"):
            opened(settings).__enter__()

    assert contents(settings.data_dir) == before
    assert not database_file(settings).exists()


def test_an_older_copy_of_the_database_is_refused_where_it_would_orphan_adapters(settings, tmp_path):
    tune(settings)
    older = copied(settings, tmp_path / "older.db")
    since = tune(settings)
    shutil.copy(older, database_file(settings))
    before = contents(settings.data_dir)

    with pytest.raises(StartError, match=f"files of job {since}, .* an older copy"):
        start(settings)

    assert contents(settings.data_dir) == before


def test_an_older_copy_that_would_train_an_ended_job_again_is_refused(settings, tmp_path):
    job = tune(settings, steps=0)
    older = copied(settings, tmp_path / "older.db")
    database = Database.open(settings.resolved_database_url)
    build_workshop(database, Artifacts(settings.data_dir), Clock(), InMemoryExecutor(Clock())).advance()
    database.close()
    shutil.copy(older, database_file(settings))
    before = contents(settings.data_dir)

    with pytest.raises(StartError, match=f"files of job {job}, "):
        start(settings)

    assert contents(settings.data_dir) == before


def test_an_older_copy_that_lacks_only_waiting_jobs_starts_and_sets_their_examples_aside(settings, tmp_path, caplog):
    older = copied(settings, tmp_path / "older.db")
    job = tune(settings, steps=0)
    shutil.copy(older, database_file(settings))
    examples = (settings.data_dir / f"datasets/{job}.jsonl").read_bytes()

    with caplog.at_level(logging.WARNING):
        start(settings)

    [folder] = (settings.data_dir / "set-aside").iterdir()
    assert (folder / f"datasets/{job}.jsonl").read_bytes() == examples
    assert (folder / f"manifests/datasets/{job}.jsonl.json").exists()
    assert not (settings.data_dir / f"datasets/{job}.jsonl").exists()
    [line] = [record for record in caplog.records if getattr(record, "action", "") == "files_set_aside"]
    assert job in line.getMessage()
    assert str(folder) in line.getMessage()
    assert line.levelno == logging.WARNING


def test_an_installation_of_an_earlier_version_is_adopted_without_a_word(settings, caplog):
    tune(settings)
    (settings.data_dir / "database-id").unlink()
    with sqlite3.connect(database_file(settings)) as connection:
        connection.execute("DELETE FROM database_identity")
    before = contents(settings.data_dir)

    start(settings)

    assert {name: was for name, was in contents(settings.data_dir).items() if name != "database-id"} == before
    assert (settings.data_dir / "database-id").exists()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_first_start_after_an_upgrade_sets_weights_aside_that_the_earlier_version_forgot_to_delete(settings, caplog):
    """Earlier versions with two servers on one database: one deleted a model whose files the other server has."""
    known, forgotten = tune(settings), tune(settings)
    (settings.data_dir / "database-id").unlink()
    with sqlite3.connect(database_file(settings)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(
            "DELETE FROM tuned_models WHERE id = (SELECT model_id FROM tuning_jobs WHERE id = ?)", [forgotten]
        )

    start(settings)

    assert Artifacts(settings.data_dir).job_ids() == {known}
    [folder] = (settings.data_dir / "set-aside").iterdir()
    assert (folder / "adapters" / forgotten).exists()
    [line] = [record for record in caplog.records if getattr(record, "action", "") == "files_set_aside"]
    assert line.levelno == logging.WARNING
    assert forgotten in line.getMessage()
    assert str(folder) in line.getMessage()
    assert (settings.data_dir / "database-id").exists()


def test_a_directory_without_a_record_is_refused_by_a_database_that_knows_none_of_its_jobs(settings):
    tune(settings)
    (settings.data_dir / "database-id").unlink()
    database_file(settings).unlink()
    Database.open(settings.resolved_database_url).close()
    before = contents(settings.data_dir)

    with pytest.raises(StartError, match="it may be another database than theirs"):
        start(settings)

    assert contents(settings.data_dir) == before


def test_two_directories_may_belong_to_one_database(settings, tmp_path):
    second = settings_of(tmp_path / "second", database_url=settings.resolved_database_url)
    start(second)
    jobs = [tune(settings), tune(second)]
    before = [contents(each.data_dir) for each in (settings, second)]

    for each in (settings, second):
        start(each)

    assert [contents(each.data_dir) for each in (settings, second)] == before
    assert [Artifacts(each.data_dir).job_ids() for each in (settings, second)] == [{jobs[0]}, {jobs[1]}]


def test_a_directory_whose_files_all_are_known_may_go_to_another_database(settings, tmp_path):
    """As when the database was moved from one server to another by a copy of its rows."""
    tune(settings)
    moved = copied(settings, tmp_path / "moved.db")
    with sqlite3.connect(moved) as connection:
        connection.execute("UPDATE database_identity SET id = 'another'")
    start(settings_of(settings.data_dir, database_url=f"sqlite:///{moved}"))

    assert (settings.data_dir / "database-id").read_text() == "another\n"


def test_a_key_file_is_set_aside_before_an_empty_database_gets_a_new_one(settings, caplog):
    former = settings.key_file.read_text()
    database_file(settings).unlink()

    with compose(settings) as server:
        new = server.new_key

    assert settings.key_file.read_text() == f"{new}\n" != former
    assert settings.key_file.stat().st_mode & 0o777 == 0o600
    [folder] = (settings.data_dir / "set-aside").iterdir()
    assert (folder / "api-key").read_text() == former
    [line] = [record for record in caplog.records if getattr(record, "action", "") == "key_set_aside"]
    assert str(folder) in line.getMessage()


KILLED = """
import os, sys
from tuningfork.server import belonging
from tuningfork.server.compose import compose
from tuningfork.settings import Settings
directory, when = sys.argv[1:]
write_aside = belonging.write_aside
def killed(path, content):
    if when == "after":
        write_aside(path, content)
    os._exit(9)
belonging.write_aside = killed
with compose(Settings(data_dir=directory, port=0)):
    pass
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_first_start_that_is_killed_beside_writing_its_key_leaves_no_key_that_nobody_has(tmp_path, when):
    settings = settings_of(tmp_path / "data")
    ended = subprocess.run([sys.executable, "-c", KILLED, str(settings.data_dir), when], check=False)
    assert ended.returncode == 9

    with compose(settings) as server:
        key = server.new_key

    assert settings.key_file.read_text() == f"{key}\n"
    with open_access(settings) as access:
        assert [each.prefix for each in access.list_keys()] == [key[: len(access.list_keys()[0].prefix)]]
        assert access.authenticate(key) == LOCAL_PRINCIPAL


def test_the_command_that_begins_anew_moves_what_is_unknown_and_the_server_starts(settings):
    jobs = [tune(settings), tune(settings, steps=0)]
    before = contents(settings.data_dir)
    database_file(settings).unlink()

    done = CliRunner().invoke(app, ["set-aside", "--data-dir", str(settings.data_dir)])

    assert done.exit_code == 0, done.output
    folder = Path(done.stdout.strip())
    assert folder.parent == settings.data_dir / "set-aside"
    assert "The files of 2 jobs are in" in done.stderr
    kept = contents(folder)
    assert kept == {name: was for name, was in before.items() if any(job in name for job in jobs)}
    start(settings)
    assert contents(folder) == kept


def test_beginning_anew_is_refused_while_a_server_runs(settings):
    with compose(settings), pytest.raises(StartError, match="another server already uses"):
        begin_anew(settings)


def test_what_was_set_aside_can_be_moved_back_and_is_known_again(settings, tmp_path):
    job = tune(settings)
    right = copied(settings, tmp_path / "right.db")
    database_file(settings).unlink()
    before = contents(settings.data_dir)
    _, folder = begin_anew(settings)
    database_file(settings).unlink()
    shutil.copytree(folder, settings.data_dir, dirs_exist_ok=True)
    shutil.rmtree(settings.data_dir / "set-aside")
    shutil.copy(right, database_file(settings))

    start(settings)

    assert contents(settings.data_dir) == before
    database = Database.open(settings.resolved_database_url)
    assert artifacts_of(settings, database).has_weights(job)
    database.close()


def test_another_user_than_the_servers_moves_nothing_aside(settings, tmp_path, monkeypatch):
    tune(settings)
    other = settings_of(settings.data_dir, database_url=other_database(tmp_path))
    before = contents(settings.data_dir)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    with pytest.raises(StartError, match="run this command as that user"):
        begin_anew(other)

    assert contents(settings.data_dir) == before
