"""The directories of locations that a server's settings name."""

import shutil

import pytest
from pydantic import ValidationError

from tuningfork.domain.tuning_job import JobId
from tuningfork.server.data_directory import StartError, artifacts_in
from tuningfork.settings import Settings
from tuningfork.store.server_id import known_server_id

JOB = JobId("abc123abc123")


@pytest.fixture
def settings(tmp_path):
    for name in ("data", "europe"):
        (tmp_path / name).mkdir()
    return Settings(data_dir=tmp_path / "data", regions=[f"europe-west4={tmp_path / 'europe'}"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("europe-west4", "a region is LOCATION=DIRECTORY with an absolute path"),
        ("europe-west4=", "a region is LOCATION=DIRECTORY"),
        ("europe-west4=data/eu", "with an absolute path"),
        ("Europe/west=/srv/eu", "a region is LOCATION=DIRECTORY"),
        ("global=/srv/global", "global is the location of what is made without one"),
        ("eu=/srv/a eu=/srv/b", "each location has one directory; eu has more"),
        ("eu=/srv/a us=/srv/a/b", "/srv/a/b is in the directory of another location"),
        ("eu=/srv/a us=/srv/a", "/srv/a is in the directory of another location"),
    ],
)
def test_what_describes_no_directory_of_a_location_is_refused(given, said):
    with pytest.raises(ValidationError, match=said):
        Settings(regions=given)


def test_files_are_below_the_root_and_the_id_of_the_server(settings, tmp_path):
    artifacts = artifacts_in(settings)
    artifacts.settle(JOB, "europe-west4")
    server = known_server_id(settings.data_dir)
    assert artifacts.dataset_path(JOB) == tmp_path / "europe" / server / "datasets" / f"{JOB}.jsonl"
    assert artifacts_in(settings).dataset_path(JOB) == artifacts.dataset_path(JOB)
    assert (tmp_path / "europe" / server).stat().st_mode & 0o777 == 0o700


def test_a_root_beside_the_data_directory_is_needed(tmp_path):
    (tmp_path / "data").mkdir()
    for directory in (tmp_path / "data" / "europe", tmp_path):
        with pytest.raises(StartError, match="must lie apart"):
            artifacts_in(Settings(data_dir=tmp_path / "data", regions=f"europe-west4={directory}"))


def test_a_root_that_is_not_there_is_not_made(settings, tmp_path):
    (tmp_path / "europe").rmdir()
    with pytest.raises(StartError, match="is not there: make it, or mount its disk"):
        artifacts_in(settings)
    assert not (tmp_path / "europe").exists()


@pytest.mark.parametrize("is_set", [True, False])
def test_a_server_does_not_start_without_the_disk_that_has_files_of_its_jobs(settings, tmp_path, is_set):
    artifacts_in(settings).settle(JOB, "europe-west4")
    shutil.rmtree(tmp_path / "europe")
    (tmp_path / "europe").mkdir()
    again = settings if is_set else Settings(data_dir=settings.data_dir)
    with pytest.raises(StartError, match="is its disk mounted"):
        artifacts_in(again)


def test_a_job_that_has_files_already_stays_where_they_are(settings):
    artifacts = artifacts_in(settings)
    artifacts.prepare_work(JOB)
    artifacts.settle(JOB, "europe-west4")
    assert not artifacts.is_elsewhere(JOB)
    artifacts.discard_work(JOB)
    artifacts.settle(JOB, "europe-west4")
    assert artifacts.is_elsewhere(JOB)
