"""Backups are consistent, checked and never overwrite; a restore leaves the old state or the new one."""

import json
import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text
from typer.testing import CliRunner

from fakes import Clock, InMemoryExecutor
from patience import paths_below
from tuningfork.artifacts.base import ArtifactMissing
from tuningfork.artifacts.manifest import Manifest
from tuningfork.cli import app
from tuningfork.domain.permission import LOCAL_PRINCIPAL
from tuningfork.server.backing_up import DataError, back_up, check, lacking_files, restore
from tuningfork.server.compose import compose
from tuningfork.server.data_directory import StartError, make_private, open_access
from tuningfork.settings import Settings
from tuningfork.store import file_locks, tuning_jobs
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database
from tuningfork.store.required_files import required
from tuningfork.store.restoring import restore_backup
from tuningfork.store.schema import metadata
from workshop import NUMBER_PAIRS, build_workshop, datasets_of, number_request


def settings_of(directory, url=None):
    return Settings(data_dir=directory, port=0, database_url=url)


@pytest.fixture
def settings(tmp_path):
    """Of a data directory that a server has been started on."""
    settings = settings_of(tmp_path / "data")
    with compose(settings):
        pass
    return settings


class Shop:
    """A workshop over a data directory, as another process beside the backup has it."""

    def __init__(self, settings):
        self.database = Database.open(settings.resolved_database_url)
        self.artifacts = Artifacts(settings.data_dir)
        parts = (self.database, self.artifacts, Clock(), InMemoryExecutor(Clock()))
        self.workshop = build_workshop(*parts)

    def make(self, *, steps=None, **changes):
        made = self.workshop.tuning.create(LOCAL_PRINCIPAL, number_request(**changes))
        if steps != 0:
            self.workshop.advance(steps)
        return made

    def delete(self, made):
        self.workshop.tuning.delete(LOCAL_PRINCIPAL, made.model.id)

    def close(self):
        self.database.close()


@pytest.fixture
def shop(settings):
    shop = Shop(settings)
    yield shop
    shop.close()


def models_of(settings):
    """Every model's id and state."""
    database = Database.open(settings.resolved_database_url)
    with database.read() as connection:
        found = tuning_jobs.states(connection)
    database.close()
    return found


def contents(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in paths_below(directory)
        if path.is_file()
        and path.parent.name != "locks"
        and path.name != "disk-reserve"
        and not path.name.endswith((".lock", ".db", "-wal", "-shm"))
    }


def assert_whole(settings):
    """Whatever the database's rows need is in the directory, with the bytes that were written."""
    database, artifacts = Database.open(settings.resolved_database_url), Artifacts(settings.data_dir)
    with database.read() as connection:
        needed = [*required(connection, artifacts)]
    database.close()
    for each in needed:
        with artifacts.store.reading(each.ref):
            pass
    return len(needed)


def test_a_restored_backup_is_the_data_directory_at_that_time(settings, shop, tmp_path):
    done, waiting = shop.make(), shop.make(steps=0, validation=NUMBER_PAIRS)
    further = shop.make(steps=0, base_model="", tuned_model_source=f"tunedModels/{done.model.id}")
    before = contents(settings.data_dir)

    made = back_up(settings, tmp_path / "backup")
    shop.make()
    shop.delete(done)
    restored = settings_of(tmp_path / "restored")
    restore(restored, tmp_path / "backup")

    assert contents(restored.data_dir) == before
    assert {str(job): state.value for job, state in models_of(restored).items()} == {
        done.job.id: "succeeded",
        waiting.job.id: "queued",
        further.job.id: "queued",
    }
    assert assert_whole(restored) == 6
    assert (made.models, made.lacking) == (3, ())
    with compose(restored) as server:
        assert server.new_key is None


def test_a_backup_is_for_its_user_only_and_holds_the_secrets_of_the_server(settings, shop, tmp_path):
    shop.make()
    back_up(settings, tmp_path / "backup")

    paths = [tmp_path / "backup", *(tmp_path / "backup").rglob("*")]
    assert {path.stat().st_mode & 0o077 for path in paths} == {0}
    assert (tmp_path / "backup/data/api-key").read_bytes() == settings.key_file.read_bytes()
    assert [path.name for path in tmp_path.iterdir() if "backup" in path.name] == ["backup"]


@pytest.mark.parametrize("there", ["directory", "file", "link"])
def test_a_backup_never_takes_the_place_of_anything(settings, tmp_path, there):
    to = tmp_path / "backup"
    {
        "directory": to.mkdir,
        "file": lambda: to.write_text("mine"),
        "link": lambda: to.symlink_to(tmp_path / "nowhere"),
    }[there]()

    with pytest.raises(DataError, match="is there already, and a backup overwrites nothing"):
        back_up(settings, to)

    assert os.path.lexists(to)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s, t: (settings_of(t / "none"), t / "b"), "there is no data directory"),
        (lambda s, t: (s, s.data_dir / "b"), "with which it would be lost"),
        (lambda s, t: (settings_of(s.data_dir, f"sqlite:///{t / 'none.db'}"), t / "b"), "there is no database"),
    ],
)
def test_what_cannot_be_backed_up_is_refused_in_a_sentence_and_creates_nothing(settings, tmp_path, change, said):
    given, to = change(settings, tmp_path)
    before = sorted(tmp_path.iterdir())

    with pytest.raises(DataError, match=said):
        back_up(given, to)

    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s, t: settings_of(t / "none"), "there is no data directory"),
        (lambda s, t: settings_of(s.data_dir, f"sqlite:///{t / 'none.db'}"), "there is no database"),
    ],
)
def test_what_is_not_there_is_not_checked_and_not_created(settings, tmp_path, change, said):
    given = change(settings, tmp_path)
    before = sorted(tmp_path.iterdir())

    with pytest.raises(DataError, match=said):
        lacking_files(given)

    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("call", [lambda s, t: back_up(s, t / "backup"), lambda s, _: lacking_files(s)])
def test_another_user_than_the_servers_is_told_whose_the_directory_is(settings, tmp_path, monkeypatch, call):
    shutil.rmtree(settings.data_dir / "locks")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    with pytest.raises(DataError, match=rf"belongs to {pwd.getpwuid(os.getuid()).pw_name}; run this command as that"):
        call(settings, tmp_path)

    assert not (settings.data_dir / "locks").exists()
    assert not (tmp_path / "backup").exists()


def test_files_that_are_gone_or_damaged_are_told_and_the_rest_is_backed_up(settings, shop, tmp_path):
    lost, damaged, whole = (shop.make() for _ in range(3))
    shutil.rmtree(shop.artifacts.adapter_directory(lost.job.id))
    file = next(shop.artifacts.adapter_directory(damaged.job.id).iterdir())
    file.write_bytes(bytes(len(file.read_bytes())))

    made = back_up(settings, tmp_path / "backup")
    restored = settings_of(tmp_path / "restored")
    restore(restored, tmp_path / "backup")

    assert sorted(made.lacking) == sorted(
        [f"{lost.model.id}\tweights: missing", f"{damaged.model.id}\tweights: damaged"]
    )
    assert [each.line for each in lacking_files(restored)] == [f"{lost.model.id}\tweights: missing"]
    assert Artifacts(restored.data_dir).store.has(Artifacts(restored.data_dir).adapter(whole.job.id))


def test_a_file_whose_content_changed_on_the_disk_is_found_by_its_digest(settings, shop):
    changed, lost, _whole = (shop.make() for _ in range(3))
    for file in (
        shop.artifacts.dataset_path(changed.job.id),
        *shop.artifacts.adapter_directory(changed.job.id).glob("*"),
    ):
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    shop.artifacts.dataset_path(lost.job.id).unlink()

    assert [each.line for each in lacking_files(settings)] == [f"{lost.model.id}\texamples: missing"]
    assert [each.line for each in lacking_files(settings, digests=True)] == [
        f"{changed.model.id}\texamples: damaged",
        f"{changed.model.id}\tweights: damaged",
        f"{lost.model.id}\texamples: missing",
    ]


def test_of_a_file_without_a_digest_the_size_is_compared(settings, shop):
    """As of files that a version without manifests has written."""
    made = shop.make()
    path = shop.artifacts.dataset_path(made.job.id)
    shop.artifacts.store.place(shop.artifacts.dataset(made.job.id), path, Manifest.of(path, with_digests=False))
    assert lacking_files(settings, digests=True) == []

    path.write_bytes(path.read_bytes()[:-1])
    assert [each.line for each in lacking_files(settings, digests=True)] == [f"{made.model.id}\texamples: damaged"]


@pytest.mark.parametrize("how", ["flip", "cut", "remove", "manifest", "no manifest"])
def test_a_damaged_backup_is_found_and_never_restored(settings, shop, tmp_path, how):
    shop.make()
    backup = tmp_path / "backup"
    back_up(settings, backup)
    victim = next((backup / "data/adapters").rglob("*.*"))
    content = victim.read_bytes()
    match how:
        case "flip":
            victim.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "cut":
            victim.write_bytes(content[:-1])
        case "remove":
            victim.unlink()
        case "manifest":
            (backup / "backup.json").write_text((backup / "backup.json").read_text()[:-20])
        case "no manifest":
            (backup / "backup.json").unlink()

    for call in (lambda: check(backup), lambda: restore(settings_of(tmp_path / "restored"), backup)):
        with pytest.raises(DataError, match=r"is damaged|is no backup"):
            call()
    assert not (tmp_path / "restored").exists()


def test_a_backup_names_no_file_outside_of_the_data_directory(settings, tmp_path):
    backup = tmp_path / "backup"
    back_up(settings, backup)
    content = json.loads((backup / "backup.json").read_text())
    content["files"][0]["name"] = "../../precious"
    (backup / "backup.json").write_text(json.dumps(content))

    with pytest.raises(DataError, match="outside of the data directory"):
        restore(settings_of(tmp_path / "restored"), backup)


def test_a_restore_overwrites_no_installation(settings, shop, tmp_path):
    shop.make()
    back_up(settings, tmp_path / "backup")
    before = contents(settings.data_dir)

    with pytest.raises(DataError, match=r"holds files already, such as .*, and nothing is overwritten"):
        restore(settings, tmp_path / "backup")

    assert contents(settings.data_dir) == before


def test_a_restore_overwrites_no_database_elsewhere(settings, tmp_path):
    back_up(settings, tmp_path / "backup")
    url = f"sqlite:///{tmp_path / 'other.db'}"
    Database.open(url).close()

    with pytest.raises(DataError, match=r"other\.db holds something already"):
        restore(settings_of(tmp_path / "restored", url), tmp_path / "backup")

    assert contents(tmp_path / "restored") == {}


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
def test_a_restore_is_refused_beside_what_is_left_of_another_database(settings, tmp_path, suffix):
    back_up(settings, tmp_path / "backup")
    (tmp_path / f"other.db{suffix}").write_bytes(b"pages of another database")
    restored = settings_of(tmp_path / "restored", f"sqlite:///{tmp_path / 'other.db'}")

    with pytest.raises(DataError, match=rf"other\.db{suffix} is left of another database"):
        restore(restored, tmp_path / "backup")

    assert contents(tmp_path / "restored") == {}
    assert (tmp_path / f"other.db{suffix}").exists()
    (tmp_path / f"other.db{suffix}").unlink()
    restore(restored, tmp_path / "backup")
    assert assert_whole(restored) == 0


def test_a_restore_is_not_finished_beside_what_is_left_of_another_database(settings, shop, tmp_path):
    shop.make()
    back_up(settings, tmp_path / "backup")
    restored = settings_of(tmp_path / "restored", f"sqlite:///{tmp_path / 'other.db'}")
    restored.data_dir.mkdir()
    shutil.copytree(tmp_path / "backup/data", restored.data_dir / "restore.part/data")
    (restored.data_dir / "restore.part/complete").touch()
    (tmp_path / "other.db-wal").write_bytes(b"pages of another database")

    with pytest.raises(StartError, match=r"other\.db-wal is left of another database"), compose(restored):
        pass

    (tmp_path / "other.db-wal").unlink()
    with compose(restored):
        pass
    assert assert_whole(restored) == 2


def test_a_database_and_a_directory_that_are_apart_are_restored_apart(settings, shop, tmp_path):
    shop.make()
    back_up(settings, tmp_path / "backup")
    restored = settings_of(tmp_path / "restored", f"sqlite:///{tmp_path / 'other.db'}")

    restore(restored, tmp_path / "backup")

    assert not (restored.data_dir / "tuningfork.db").exists()
    assert (tmp_path / "other.db").stat().st_mode & 0o777 == 0o600
    assert assert_whole(restored) == 2


def test_empty_directories_of_a_start_that_was_refused_are_no_installation(settings, shop, tmp_path):
    shop.make()
    back_up(settings, tmp_path / "backup")
    restored = settings_of(tmp_path / "restored")
    Artifacts(restored.data_dir)
    (restored.data_dir / "server.lock").touch()

    restore(restored, tmp_path / "backup")

    assert assert_whole(restored) == 2


def test_no_restore_goes_into_a_directory_that_a_server_uses(settings, tmp_path):
    back_up(settings, tmp_path / "backup")

    with compose(settings_of(tmp_path / "used")), pytest.raises(DataError, match="another server already uses"):
        restore(settings_of(tmp_path / "used"), tmp_path / "backup")


def test_what_is_deleted_while_a_backup_is_made_stays_until_it_is_made(shop):
    made = shop.make()
    with file_locks.alone(shop.artifacts.store.root / file_locks.REMOVALS) as alone:
        assert alone
        shop.delete(made)
        shop.workshop.running.remove_deferred()
        assert shop.artifacts.store.has(shop.artifacts.adapter(made.job.id))
        assert shop.artifacts.holds(made.job.id)

    shop.workshop.running.remove_deferred()
    assert shop.artifacts.job_ids() == set()


def test_what_a_killed_server_had_not_removed_yet_is_removed_at_the_next_start(shop):
    made, ended = shop.make(), shop.make(steps=3)
    with file_locks.alone(shop.artifacts.store.root / file_locks.REMOVALS):
        shop.delete(made)
    assert shop.artifacts.holds(made.job.id)

    shop.workshop.running.requeue_interrupted()
    assert shop.workshop.running.sweep() == [made.job.id]
    assert shop.artifacts.job_ids() == {ended.job.id}


def test_a_second_backup_at_the_same_time_is_refused(settings, tmp_path):
    with file_locks.alone(settings.data_dir / file_locks.REMOVALS):
        ended = subprocess.run(
            [sys.executable, "-c", IMPATIENT, str(settings.data_dir), str(tmp_path / "backup")],
            capture_output=True,
            text=True,
            check=False,
        )

    assert "another backup of this data directory is being made" in ended.stderr
    assert not (tmp_path / "backup").exists()


IMPATIENT = """
import sys
from tuningfork.server import backing_up
from tuningfork.settings import Settings
from tuningfork.store import backup
backup._PATIENCE_SECONDS = 0.2
backing_up.back_up(Settings(data_dir=sys.argv[1]), backing_up.Path(sys.argv[2]))
"""


class Load:
    """Threads that create, train, tune further and delete, until they are stopped."""

    def __init__(self, settings):
        self.faults = []
        self._shop = Shop(settings)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(each,)) for each in (self._train, self._queue)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._shop.close()

    def _work(self, each):
        try:
            while not self._stop.is_set():
                each()
        except Exception as error:  # noqa: BLE001 - told by the test
            self.faults.append(error)

    def _train(self):
        first = self._shop.make(steps=0)
        self._advance_to_end(first)
        further = self._shop.make(steps=0, base_model="", tuned_model_source=f"tunedModels/{first.model.id}")
        self._shop.delete(first)
        self._advance_to_end(further)
        self._shop.workshop.running.remove_deferred()

    def _advance_to_end(self, made):
        while not self._shop.workshop.tuning.get(LOCAL_PRINCIPAL, made.model.id).job.state.is_final:
            try:
                self._shop.workshop.advance()
            except ArtifactMissing as error:
                # It may be the turn of a job that the other thread deletes at this moment.
                if made.job.id in error.message:
                    raise

    def _queue(self):
        for made in [self._shop.make(steps=0) for _ in range(3)]:
            self._shop.delete(made)


def test_a_backup_under_load_is_consistent_and_every_model_of_it_is_whole(settings, tmp_path):
    made = []
    with Load(settings) as load:
        while len(made) < 5 and not load.faults:
            time.sleep(0.5)
            made.append(back_up(settings, tmp_path / f"backup-{len(made)}"))

    assert load.faults == []
    assert len(made) == 5
    assert [backup.lacking for backup in made] == [()] * 5
    for number, backup in enumerate(made):
        restored = settings_of(tmp_path / f"restored-{number}")
        restore(restored, backup.path)
        assert assert_whole(restored) >= backup.models
        assert lacking_files(restored) == []
    assert sum(backup.models for backup in made) > 0


KILLED = """
import sys, os, signal, threading, time
from pathlib import Path
from tuningfork.server import backing_up
from tuningfork.settings import Settings
what, data, backup, seconds = sys.argv[1:]
settings = Settings(data_dir=data)
print("ready", flush=True)
threading.Thread(target=lambda: (time.sleep(float(seconds)), os.kill(os.getpid(), signal.SIGKILL)), daemon=True).start()
if what == "backup":
    backing_up.back_up(settings, Path(backup))
else:
    backing_up.restore(settings, Path(backup))
"""


def killed_after(seconds, what, directory, backup):
    """Whether a process that was killed after so long had already ended by itself."""
    arguments = [sys.executable, "-c", KILLED, what, str(directory), str(backup), str(seconds)]
    return subprocess.run(arguments, check=False, capture_output=True).returncode != -signal.SIGKILL


def instants():
    """From at once until later than it takes."""
    return (0.0, 0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3)


def test_a_restore_never_finishes_that_of_another_backup(settings, shop, tmp_path, monkeypatch):
    first = shop.make()
    back_up(settings, tmp_path / "first")
    shop.make()
    back_up(settings, tmp_path / "second")
    restored = settings_of(tmp_path / "restored")
    make_private(restored.data_dir)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(OSError, match="killed"):
            restore_backup(tmp_path / "first", restored.data_dir, restored.resolved_database_url)

    with pytest.raises(DataError, match=rf"of another backup, {tmp_path / 'first'}, was interrupted"):
        restore(restored, tmp_path / "second")
    assert restore(restored, tmp_path / "first").backup.models == 1
    assert [*models_of(restored)] == [first.job.id]
    assert not (restored.data_dir / "restore.part").exists()


def killed(*_):
    raise OSError("killed")


def test_a_restore_that_was_killed_at_its_very_end_is_done(settings, shop, tmp_path):
    shop.make()
    back_up(settings, tmp_path / "backup")
    restored = settings_of(tmp_path / "restored")
    restore(restored, tmp_path / "backup")
    (restored.data_dir / "restore.part").mkdir()

    with open_access(restored):
        pass
    with compose(restored):
        pass

    assert not (restored.data_dir / "restore.part").exists()
    assert assert_whole(restored) == 2


@pytest.mark.slow
def test_a_backup_that_is_killed_leaves_a_whole_one_or_none_and_can_be_made_again(settings, shop, tmp_path):
    for _ in range(20):
        shop.make()
    ends = set()
    for number, seconds in enumerate(instants()):
        backup = tmp_path / f"backup-{number}"
        ends.add(killed_after(seconds, "backup", settings.data_dir, backup))
        if backup.exists():
            assert check(backup).models == 20
        else:
            assert back_up(settings, backup).models == 20
        assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []
    assert False in ends


@pytest.mark.slow
def test_a_restore_that_is_killed_leaves_the_old_state_or_the_new_one(settings, shop, tmp_path):
    for _ in range(20):
        shop.make()
    backup = tmp_path / "backup"
    back_up(settings, backup)
    wanted = contents(settings.data_dir)
    for number, seconds in enumerate(instants()):
        restored = settings_of(tmp_path / f"restored-{number}")
        killed_after(seconds, "restore", restored.data_dir, backup)
        try:
            with compose(restored) as server:
                new = server.new_key is None
        except StartError as error:
            if "was interrupted; run `tuningfork restore` again" not in str(error):
                raise
            restore(restored, backup)
            new = True
        if new:
            assert contents(restored.data_dir) == wanted
            assert assert_whole(restored) == 40
        else:
            assert models_of(restored) == {}


def test_a_restore_that_was_complete_in_the_directory_is_finished_by_the_next_start(settings, shop, tmp_path):
    shop.make()
    back_up(settings, tmp_path / "backup")
    wanted = contents(settings.data_dir)
    restored = settings_of(tmp_path / "restored")
    restored.data_dir.mkdir()
    # As a kill leaves it between two renames.
    shutil.copytree(tmp_path / "backup/data", restored.data_dir / "restore.part/data")
    (restored.data_dir / "restore.part/data/datasets").rename(restored.data_dir / "datasets")
    (restored.data_dir / "restore.part/complete").touch()

    with pytest.raises(StartError, match="run `tuningfork restore` again"):
        open_access(restored).__enter__()
    with compose(restored) as server:
        assert server.new_key is None

    assert contents(restored.data_dir) == wanted
    assert not (restored.data_dir / "restore.part").exists()


def test_a_database_that_is_damaged_is_not_backed_up_as_if_it_were_whole(settings, tmp_path):
    file = settings.data_dir / "tuningfork.db"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(file.read_bytes())
    content[8192:12288] = bytes(4096)
    file.write_bytes(content)

    with pytest.raises(DataError, match=r"is damaged|cannot be copied|cannot be used"):
        back_up(settings, tmp_path / "backup")

    assert not (tmp_path / "backup").exists()


def test_the_commands_say_what_they_did_and_print_the_place(settings, shop, tmp_path):
    made = shop.make()
    run = CliRunner().invoke
    backup, data = str(tmp_path / "backup"), ["--data-dir", str(settings.data_dir)]

    done = run(app, ["backup", "--to", backup, *data])
    assert (done.exit_code, done.stdout) == (0, backup + "\n")
    assert "Backed up 1 models in" in done.stderr
    checked = run(app, ["backup", "--check", backup])
    assert (checked.exit_code, checked.stdout) == (0, "")
    assert "is whole" in checked.stderr
    again = run(app, ["backup", "--to", backup, *data])
    assert (again.exit_code, again.stdout) == (1, "")
    assert run(app, ["backup"]).exit_code == 1
    restored = run(app, ["restore", backup, "--data-dir", str(tmp_path / "restored")])
    assert (restored.exit_code, restored.stdout) == (0, f"{tmp_path / 'restored'}\n")
    shutil.rmtree(Artifacts(tmp_path / "restored").adapter_directory(made.job.id))
    lacks = run(app, ["check", "--data-dir", str(tmp_path / "restored")])
    assert (lacks.exit_code, lacks.stdout) == (1, f"tunedModels/{made.model.id}\tweights: missing\n")
    assert run(app, ["check", *data]).exit_code == 0
    file = next(shop.artifacts.adapter_directory(made.job.id).iterdir())
    file.write_bytes(bytes(file.stat().st_size))
    assert run(app, ["check", *data]).exit_code == 0
    changed = run(app, ["check", "--digests", *data])
    assert (changed.exit_code, changed.stdout) == (1, f"tunedModels/{made.model.id}\tweights: damaged\n")


def test_files_of_a_server_with_a_directory_of_its_own_are_not_called_missing(settings, shop, tmp_path):
    shop.make()
    second = settings_of(tmp_path / "second", settings.resolved_database_url)
    with compose(second):
        pass

    assert lacking_files(second) == []
    assert lacking_files(settings) == []
    assert back_up(second, tmp_path / "backup").lacking == ()


def test_a_backup_of_a_place_where_nothing_can_be_written_is_refused(settings):
    with pytest.raises(DataError, match="cannot be read or written"):
        back_up(settings, Path("/proc/nowhere/backup"))


def test_a_backup_restores_into_either_kind_of_database(settings, shop, tmp_path, database_url):
    """From SQLite to the database under test, and from that back to SQLite."""
    done = shop.make()
    waiting = shop.make(steps=0)
    back_up(settings, tmp_path / "backup")
    there = settings_of(tmp_path / "there", database_url)

    restore(there, tmp_path / "backup")
    # New rows get ids that no restored row has.
    elsewhere = Shop(there)
    elsewhere.delete(waiting)
    more = elsewhere.make()
    elsewhere.close()
    made = back_up(there, tmp_path / "again")
    home = settings_of(tmp_path / "home")
    restore(home, tmp_path / "again")

    assert made.lacking == ()
    assert {*models_of(home)} == {done.job.id, more.job.id}
    assert rows_of(home.resolved_database_url) == rows_of(database_url)
    assert contents(home.data_dir) == contents(there.data_dir)


class TestBesideADatabaseInUse:
    """A backup of a database that still is in use: only the files of a data directory were lost."""

    @pytest.fixture
    def one(self, tmp_path, database_url):
        """A server on the database."""
        settings = settings_of(tmp_path / "one", database_url)
        with compose(settings):
            pass
        return settings

    @pytest.fixture
    def two(self, one, tmp_path, database_url):
        """Another server on the same database, with a data directory of its own and a model."""
        settings = settings_of(tmp_path / "two", database_url)
        with compose(settings):
            pass
        shop = Shop(settings)
        shop.make()
        shop.close()
        return settings

    @pytest.fixture
    def lost(self, one, two, tmp_path):
        """The second server after the loss of its directory, of which there is a backup; the database has gone on."""
        back_up(two, tmp_path / "backup")
        wanted = contents(two.data_dir)
        shutil.rmtree(two.data_dir)
        shop = Shop(one)
        shop.make()
        shop.close()
        return two, wanted

    def test_only_the_files_are_restored_and_the_rows_stay(self, lost, tmp_path, database_url):
        settings, wanted = lost
        rows = rows_of(database_url)
        assert len(models_of(settings)) == 2

        restored = restore(settings, tmp_path / "backup")

        assert (restored.files_only, restored.backup.models) == (True, 1)
        assert contents(settings.data_dir) == wanted
        assert rows_of(database_url) == rows
        assert lacking_files(settings, digests=True) == []
        assert not (settings.data_dir / "tuningfork.db").exists()
        with compose(settings) as server:
            assert server.new_key is None

    @pytest.mark.parametrize("finished_by", ["command", "start"])
    def test_an_interrupted_restore_leaves_the_rows_too(self, lost, tmp_path, database_url, monkeypatch, finished_by):
        settings, wanted = lost
        rows = rows_of(database_url)
        make_private(settings.data_dir)
        with monkeypatch.context() as patched:
            patched.setattr(Path, "rename", killed)
            with pytest.raises(OSError, match="killed"):
                restore_backup(tmp_path / "backup", settings.data_dir, database_url)

        if finished_by == "command":
            assert restore(settings, tmp_path / "backup").files_only
        else:
            with compose(settings):
                pass

        assert contents(settings.data_dir) == wanted
        assert rows_of(database_url) == rows
        assert not (settings.data_dir / "restore.part").exists()

    def test_the_command_says_that_only_files_were_restored(self, lost, tmp_path, database_url):
        settings, _ = lost
        arguments = ["restore", str(tmp_path / "backup"), "--data-dir", str(settings.data_dir)]

        done = CliRunner().invoke(app, arguments, env={"TUNINGFORK_DATABASE_URL": database_url})

        assert (done.exit_code, done.stdout) == (0, f"{settings.data_dir}\n")
        assert "Only files were restored: the database is the one that was backed up" in done.stderr

    def test_another_database_with_rows_is_refused_and_not_changed(self, settings, two, tmp_path, database_url):
        back_up(settings, tmp_path / "other")
        rows = rows_of(database_url)

        with pytest.raises(DataError, match="holds something already"):
            restore(settings_of(tmp_path / "fresh", database_url), tmp_path / "other")

        assert rows_of(database_url) == rows
        assert contents(tmp_path / "fresh") == {}


def test_a_database_of_an_earlier_version_with_rows_is_refused_and_not_migrated(settings, tmp_path, database_url):
    engine = migrated_to("0004", database_url)
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO group_members VALUES ('all@example.com', 'ada@example.com', '2026-01-01')")
        )
    back_up(settings, tmp_path / "backup")

    with pytest.raises(DataError, match="holds something already"):
        restore(settings_of(tmp_path / "fresh", database_url), tmp_path / "backup")

    assert_version("0004", engine)


def rows_of(url):
    """All rows of all tables."""
    database = Database.open(url)
    with database.read() as connection:
        found = {
            table.name: sorted(map(repr, connection.execute(table.select()).all())) for table in metadata.sorted_tables
        }
    database.close()
    return found


def migrated_to(revision, url):
    """An engine of a database without rows, with the tables that an earlier version made."""
    engine = create_engine(url)
    config = Config()
    config.set_main_option("script_location", "tuningfork.store:migrations")
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    return engine


def test_tables_of_another_version_are_not_migrated_by_a_backup(settings, shop, tmp_path, database_url):
    shop.make()
    engine = migrated_to("0004", database_url)
    older = settings_of(settings.data_dir, database_url)

    if database_url.startswith("sqlite"):
        # Pages are copied as they are, and the copy is migrated.
        assert back_up(older, tmp_path / "backup").models == 0
    else:
        with pytest.raises(DataError, match="are those of another version of Tuningfork"):
            back_up(older, tmp_path / "backup")
    assert_version("0004", engine)


def assert_version(revision, engine):
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == revision
    engine.dispose()


def test_tables_of_another_version_are_not_migrated_by_a_check(settings, database_url):
    engine = migrated_to("0004", database_url)

    with pytest.raises(DataError, match="are those of another version of Tuningfork"):
        lacking_files(settings_of(settings.data_dir, database_url))

    assert_version("0004", engine)


def test_staged_datasets_with_their_edits_come_back_from_a_backup(shop, settings, tmp_path):
    datasets = datasets_of(shop.workshop)
    arriving = datasets.arrivals.begin(LOCAL_PRINCIPAL, "a.csv", "", None)
    arriving.add(b"text_input,output\n1,2\n3,4\n")
    dataset = datasets.arrivals.finish(arriving)
    arriving.close()
    datasets.editing.remove(LOCAL_PRINCIPAL, dataset.id, [0])

    back_up(settings, tmp_path / "backup")
    check(tmp_path / "backup")
    elsewhere = settings_of(tmp_path / "elsewhere")
    restore(elsewhere, tmp_path / "backup")

    restored = Shop(elsewhere)
    shown = datasets_of(restored.workshop).editing.window(LOCAL_PRINCIPAL, dataset.id, 0, 10)
    restored.close()
    assert [row.cells for _, row in shown.rows] == [("3", "4")]
