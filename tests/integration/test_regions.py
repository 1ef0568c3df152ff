"""Data and adapters of jobs of a location never leave its storage root, as every file shows."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from bucket_tunings import URI, tunings_over
from fakes import InMemoryExecutor
from row_files import row_of
from tuningfork.domain.errors import FailedPrecondition
from tuningfork.domain.references import TunedRef
from tuningfork.service.tuning.tidying import sweep
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.backup import write_backup
from workshop import ADA, build_workshop, number_request

EUROPE = {"project": "p", "location": "europe-west4"}
CANARY = "zirkon"
"""A word of the examples, which is nowhere else."""
SPEC = {"trainingDatasetUri": URI, "hyperParameters": {"epochCount": 4}}


class Place:
    """A server's data directory, the storage root of a location, and a bucket, which is neither's."""

    def __init__(self, database, clock, directory):
        self._database = database
        self._clock = clock
        self.data = directory / "data"
        self.root = directory / "europe"
        self.bucket = directory / "bucket"
        self.bucket.mkdir()
        self._elsewhere = directory
        self._executors = []
        self.start()

    def start(self, *, with_region=True):
        """Start the server, which has been killed if it ran."""
        regions = {"europe-west4": self.root / "me"} if with_region else {}
        artifacts = Artifacts(self.data, self._clock, regions)
        self._executors.append(executor := InMemoryExecutor(self._clock))
        self.workshop = build_workshop(self._database, artifacts, self._clock, executor)
        self.tunings = tunings_over(self.workshop, self.bucket)
        self.tunings.write(rows=[row_of(f"{CANARY} {number}", "x") for number in range(15)])
        self.workshop.running.requeue_interrupted()
        self.tunings.preparing.requeue_interrupted()
        sweep(self._database, artifacts)
        return self

    def close(self):
        for executor in self._executors:
            executor.close()

    def create(self, **body):
        """A job of the location."""
        return self.tunings.create(place=EUROPE, **{"supervisedTuningSpec": SPEC} | body)

    def get(self, made):
        return self.tunings.get(made, place=EUROPE)

    def keep_early(self, assignment):
        """Keep a checkpoint of a running job, as its trainer would."""
        early = assignment.work.below("early")
        with self.workshop.artifacts.store.writing(early) as directory:
            directory.mkdir()
            (directory / "answers.json").write_text("{}")
        self.workshop.running.checkpoint_kept(assignment.job_id, 4, 1, early)

    def leaks(self):
        """Every file outside of the root that quotes an example or could be one of a job's; links are none."""
        found = []
        for folder, _, names in os.walk(self._elsewhere):
            for name in names:
                path = Path(folder, name)
                if path.is_symlink() or self.bucket in path.parents or self.root in path.parents:
                    continue
                kinds = {"datasets", "work", "checkpoints", "adapters", "manifests", "set-aside"}
                is_jobs = kinds.intersection(path.relative_to(self._elsewhere).parts)
                if is_jobs or CANARY.encode() in path.read_bytes():
                    found.append(str(path.relative_to(self._elsewhere)))
        return found

    def kept(self):
        """The kinds of files that are in the root."""
        return {path.relative_to(self.root).parts[1] for path in self.root.rglob("*") if path.is_file()}


@pytest.fixture
def place(database, clock, tmp_path):
    place = Place(database, clock, tmp_path)
    yield place
    place.close()


def test_no_file_of_a_job_leaves_its_root_from_the_first_row_to_the_deletion(place):
    made = place.create()
    place.tunings.prepare()
    assert (place.kept(), place.leaks()) == ({"datasets", "manifests"}, [])

    place.keep_early(place.workshop.advance(steps=9))
    assert "checkpoints" in place.kept()
    assert "work" in place.kept()
    assert place.leaks() == []

    place.start()
    place.workshop.advance()
    assert place.get(made)["state"] == "JOB_STATE_SUCCEEDED"
    assert len(place.get(made)["tunedModel"]["checkpoints"]) == 2
    assert {"datasets", "checkpoints", "manifests"} <= place.kept()
    assert place.leaks() == []

    [tuned] = place.workshop.tuning.list(ADA).items
    with place.workshop.artifacts.store.reading(place.workshop.artifacts.dataset(tuned.job.id)) as path:
        assert place.root in path.parents
    place.workshop.tuning.delete(ADA, tuned.model.id)
    assert (place.kept(), place.leaks()) == (set(), [])
    assert [*(place.data / "elsewhere").iterdir()] == []


@pytest.mark.parametrize("when", ["waits", "trains"])
def test_a_job_that_is_cancelled_leaves_nothing_outside_of_its_root(place, when):
    made = place.create()
    place.tunings.prepare()
    if when == "trains":
        place.workshop.advance(steps=3)
    place.tunings.call(place.tunings.methods.cancel, {"tuning_job": made["name"].rpartition("/")[2]}, place=EUROPE)
    if when == "trains":
        place.start().workshop.advance()
    assert place.get(made)["state"] == "JOB_STATE_CANCELLED"
    assert place.leaks() == []


def test_statistics_of_a_job_quote_no_example(place):
    made = place.create()
    place.tunings.prepare()
    stats = place.get(made)["tuningDataStats"]["supervisedTuningDataStats"]
    assert stats["tuningDatasetExampleCount"] == "15"
    assert "userDatasetExamples" not in stats


def test_jobs_of_other_locations_stay_in_the_data_directory(place):
    place.tunings.create()
    place.tunings.prepare()
    assert place.kept() == set()


def test_a_model_is_tuned_further_at_its_location_alone(place):
    made = place.create()
    place.tunings.prepare()
    place.workshop.advance()
    model = place.get(made)["tunedModel"]["model"]
    further = {"preTunedModel": {"tunedModelName": model}, "supervisedTuningSpec": SPEC}

    with pytest.raises(FailedPrecondition, match="must not leave the location"):
        place.tunings.call(place.tunings.methods.create, {}, body=further)
    [tuned] = place.workshop.tuning.list(ADA).items
    with pytest.raises(FailedPrecondition, match="must not leave the location"):
        place.workshop.tuning.create(ADA, replace(number_request(), base_model="", source=TunedRef(tuned.model.id)))
    assert place.leaks() == []

    again = place.tunings.call(place.tunings.methods.create, {}, body=further, place=EUROPE)
    assert place.leaks() == []
    place.tunings.prepare()
    place.workshop.advance()
    assert place.get(again)["state"] == "JOB_STATE_SUCCEEDED"
    assert place.leaks() == []


def test_jobs_are_found_in_their_roots_after_the_setting_is_gone(place):
    made = place.create()
    place.tunings.prepare()
    place.start(with_region=False)
    place.workshop.advance()
    assert place.get(made)["state"] == "JOB_STATE_SUCCEEDED"
    assert place.leaks() == []
    # New jobs are kept as those of any location.
    place.create()
    place.tunings.prepare()
    assert [each for each in place.leaks() if each.startswith("data/datasets")]


def test_a_backup_leaves_the_files_out_and_a_restored_directory_finds_them(place, database_url, tmp_path):
    made = place.create()
    place.tunings.prepare()
    place.workshop.advance()
    backup = write_backup(
        database_url, place.workshop.artifacts, tmp_path / "backup", version="1", now=place.workshop.clock()
    )
    assert (backup.elsewhere, backup.lacking) == (1, ())
    assert {Path(entry.name).parts[0] for entry in backup.files}.isdisjoint({"datasets", "adapters", "checkpoints"})

    place.data = tmp_path / "restored"
    place.start()
    [tuned] = place.workshop.tuning.list(ADA).items
    assert place.workshop.artifacts.is_elsewhere(tuned.job.id)
    further = {
        "preTunedModel": {"tunedModelName": place.get(made)["tunedModel"]["model"]},
        "supervisedTuningSpec": SPEC,
    }
    again = place.tunings.call(place.tunings.methods.create, {}, body=further, place=EUROPE)
    place.tunings.prepare()
    place.workshop.advance()
    assert place.get(again)["state"] == "JOB_STATE_SUCCEEDED"


def test_files_that_the_database_does_not_know_are_set_aside_in_the_root(place):
    unknown = place.root / "me" / "datasets" / "unknown123.jsonl"
    unknown.write_text(CANARY)
    place.start()
    assert not unknown.exists()
    assert place.kept() == {"set-aside"}
    assert place.leaks() == []


def test_a_job_without_files_is_told_of_its_root_when_it_is_prepared(place):
    """As after a restore: the row is there, and no link."""
    place.create()
    for link in (place.data / "elsewhere").iterdir():
        link.unlink()
    place.tunings.prepare()
    assert place.leaks() == []
    assert "datasets" in place.kept()
