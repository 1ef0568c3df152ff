"""A disk without room: /dev/full for files, a bounded number of pages for SQLite."""

import errno
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from store_rows import keep, model, new_job
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.errors import ResourceExhausted
from tuningfork.domain.tuning_job import JobId
from tuningfork.store import tuned_models
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.full_disk import full_disk_reported

JOB = JobId("abc")
UNBOUNDED = 2**30


@contextmanager
def no_more_pages(database):
    """Inside the block the database's file does not grow, as on a disk without room."""
    most = 1

    def bound(connection):
        # Never less than the file has.
        connection.exec_driver_sql(f"PRAGMA max_page_count = {most}")

    event.listen(database._engine, "begin", bound)
    try:
        yield
    finally:
        most = UNBOUNDED


@pytest.fixture
def sqlite(database, database_url):
    if not database_url.startswith("sqlite"):
        pytest.skip("SQLite's way to be full")
    return database


def insert(database, *models):
    """All of them in one transaction."""
    with database.write() as connection:
        for each in models:
            tuned_models.insert(connection, each)


def test_a_write_to_a_full_database_is_one_kind_of_error_and_leaves_nothing(sqlite):
    with no_more_pages(sqlite), pytest.raises(ResourceExhausted, match="disk is full"):
        insert(sqlite, model("small"), model("large", description="x" * 100_000))
    with sqlite.read() as connection:
        assert tuned_models.find(connection, "small") is None


def test_a_database_that_was_full_goes_on_when_there_is_room(sqlite):
    with no_more_pages(sqlite):
        with pytest.raises(ResourceExhausted):
            insert(sqlite, model("large", description="x" * 100_000))
        with sqlite.read() as connection:
            assert tuned_models.find(connection, "large") is None
    keep(sqlite, new_job("a"))


def test_a_file_that_finds_no_room_is_the_same_error():
    with pytest.raises(ResourceExhausted, match="disk is full"), full_disk_reported():
        Path("/dev/full").write_bytes(b"x")


def test_a_quota_that_is_used_up_is_the_same_error():
    with pytest.raises(ResourceExhausted), full_disk_reported():
        raise OSError(errno.EDQUOT, "Disk quota exceeded")


def test_every_other_fault_stays_what_it_is(database, tmp_path):
    with pytest.raises(FileNotFoundError), full_disk_reported():
        (tmp_path / "nowhere" / "file").write_bytes(b"x")
    with pytest.raises(DBAPIError), database.read() as connection, full_disk_reported():
        connection.exec_driver_sql("SELECT 1 FROM nowhere")


def test_a_dataset_that_finds_no_room_leaves_nothing(artifacts, tmp_path):
    datasets = tmp_path / "artifacts" / "datasets"
    (datasets / "abc.aside").symlink_to("/dev/full")
    with pytest.raises(ResourceExhausted, match="disk is full"):
        artifacts.write_dataset(JOB, (Conversation.pair("1", "2"),))
    assert [*datasets.iterdir()] == []


def test_a_directory_that_can_be_written_is_no_reason(artifacts, tmp_path):
    assert artifacts.refusal() is None
    assert artifacts.refusal() is None
    assert not (tmp_path / "artifacts" / ".probe").exists()


def test_a_full_directory_is_told_until_there_is_room(artifacts, tmp_path):
    (tmp_path / "artifacts" / ".probe").symlink_to("/dev/full")
    told = artifacts.refusal()
    assert "The server's disk is full" in told
    # The probe is gone, and with it what stood in its way.
    assert artifacts.refusal() is None


def test_a_directory_that_takes_no_files_is_told(artifacts, tmp_path):
    (tmp_path / "artifacts" / ".probe").symlink_to(tmp_path / "nowhere" / "probe")
    assert artifacts.refusal() == "nothing can be written to the data directory: No such file or directory"


def test_what_cannot_even_be_removed_is_told_and_raises_nothing(artifacts, tmp_path):
    # As on a disk that is read-only, where writing and removing fail.
    (tmp_path / "artifacts" / ".probe").mkdir()
    assert artifacts.refusal() == "nothing can be written to the data directory: Is a directory"


def test_a_full_directory_of_a_location_is_told_with_the_location(tmp_path):
    artifacts = Artifacts(tmp_path / "data", regions={"europe-west4": tmp_path / "europe" / "me"})
    assert artifacts.refusal() is None

    (tmp_path / "europe" / "me" / ".probe").symlink_to("/dev/full")
    assert artifacts.refusal().startswith("location europe-west4: The server's disk is full")
    assert artifacts.refusal() is None


def test_a_directory_of_a_location_that_has_gone_away_is_told_without_its_path(tmp_path):
    artifacts = Artifacts(tmp_path / "data", regions={"europe-west4": tmp_path / "europe" / "me"})
    (tmp_path / "europe").rename(tmp_path / "elsewhere")

    said = "location europe-west4: nothing can be written to its directory: No such file or directory"
    assert artifacts.refusal() == said
