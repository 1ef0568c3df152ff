"""Jobs whose examples are in a bucket: what becomes of them while they are read."""

import threading
import time
from dataclasses import replace

import pytest

from bucket_tunings import ROWS, URI, InProcessPreparers, tunings_over
from fakes import ECHO_CATALOG
from patience import wait_until
from row_files import row_of
from store_rows import keep, new_job
from tuningfork.buckets.configuration import BucketSettings
from tuningfork.buckets.owners import BucketRecord, BucketRecords
from tuningfork.domain.checkpoint_schedule import CheckpointSchedule
from tuningfork.domain.errors import Busy, Unavailable
from tuningfork.domain.permission import Email
from tuningfork.domain.tuning_job import JobState
from tuningfork.execution.dataset_file import DatasetFile
from tuningfork.preparer import Preparer
from tuningfork.service.tuning.file_patience import FilePatience
from tuningfork.service.tuning.lease_watch import LEASE_SECONDS
from tuningfork.service.tuning.preparing import BASE_PATIENCE_SECONDS, Preparing
from tuningfork.service.tuning.running import MAX_ATTEMPTS
from tuningfork.store import leases, preparing_jobs, schema, training_options, tuning_jobs
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.leases import ServerId
from workshop import ADA

VALIDATION = {"supervisedTuningSpec": {"validationDatasetUri": "gs://shared/v.jsonl"}}


@pytest.fixture
def tunings(workshop, tmp_path):
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    made = tunings_over(workshop, bucket, pause_seconds=0.02)
    made.write()
    made.write("v.jsonl", ROWS[:3])
    yield made
    made.preparers.go_on.set()
    made.preparer.close()


def job_of(tunings):
    with tunings.workshop.database.read() as connection:
        [job_id] = tuning_jobs.states(connection)
        return tuning_jobs.find(connection, job_id)


def files_of(tunings):
    """The kinds of files that any job has."""
    artifacts = tunings.workshop.artifacts
    return {kind for kind in ("datasets", "work", "adapters", "checkpoints") if artifacts.job_ids(kind)}


def epochs(count):
    return {"supervisedTuningSpec": {"hyperParameters": {"epochCount": count}}}


def test_a_prepared_job_has_its_datasets_and_its_size(tunings):
    tunings.create(**VALIDATION)
    tunings.prepare()

    job = job_of(tunings)
    artifacts = tunings.workshop.artifacts
    assert (job.state, job.example_count, job.validation_count) == (JobState.QUEUED, 15, 3)
    assert len(DatasetFile(artifacts.dataset_path(job.id))) == 15
    assert job.total_steps == 19
    assert job.evaluate_every == 4
    assert job.data_statistics.examples == 15


@pytest.mark.parametrize(
    ("count", "schedule"),
    [
        (1, CheckpointSchedule(epochs_every=1)),
        (10, CheckpointSchedule(epochs_every=1)),
        # Of 15 examples in batches of 4, 12 epochs make 45 steps.
        (12, CheckpointSchedule(steps_every=5)),
    ],
)
def test_checkpoints_are_kept_after_each_epoch_or_about_ten_times(tunings, count, schedule):
    tunings.create(**epochs(count))
    tunings.prepare()
    assert job_of(tunings).checkpoints == schedule


def test_a_request_for_the_last_checkpoint_alone_keeps_no_other(tunings):
    tunings.create(supervisedTuningSpec={"exportLastCheckpointOnly": True})
    tunings.prepare()
    assert job_of(tunings).checkpoints == CheckpointSchedule()


def test_equal_requests_on_equal_files_have_equal_seeds(tunings):
    other = tunings.write("other.jsonl", ROWS[:-1])
    for body in ({}, {}, epochs(3), {"supervisedTuningSpec": {"trainingDatasetUri": other}}):
        tunings.create(**body)
        tunings.prepare()
    with tunings.workshop.database.read() as connection:
        seeds = [tuning_jobs.find(connection, job_id).seed for job_id in tuning_jobs.states(connection)]
    assert len(set(seeds)) == 3


def test_the_seed_of_a_job_that_goes_on_depends_on_what_it_goes_on_from(tunings):
    sources = []
    for body in (epochs(1), epochs(2)):
        made = tunings.create(**body)
        tunings.train()
        sources.append(tunings.get(made)["tunedModel"]["model"])
    for source in (sources[0], sources[1], sources[0]):
        further = {"preTunedModel": {"tunedModelName": source}, "supervisedTuningSpec": {"trainingDatasetUri": URI}}
        tunings.call(tunings.methods.create, {}, body=further)
        tunings.prepare()

    with tunings.workshop.database.read() as connection:
        jobs = [tuning_jobs.find(connection, job_id) for job_id in tuning_jobs.states(connection)]
    further = [job.seed for job in sorted(jobs, key=lambda job: job.create_time)[2:]]
    assert further[0] == further[2] != further[1]
    assert len({job.seed for job in jobs}) == 4


def test_a_row_that_cannot_be_read_fails_the_job_and_leaves_no_files(tunings):
    tunings.write(rows=[*ROWS, b'{"contents": 3}'])
    made = tunings.create()
    tunings.prepare()

    shown = tunings.get(made)
    assert (shown["state"], shown["error"]["code"]) == ("JOB_STATE_FAILED", 3)
    assert shown["error"]["message"].startswith("Row: 15. ")
    assert "startTime" not in shown
    assert shown["endTime"]
    assert files_of(tunings) == set()


def test_a_file_that_is_gone_fails_the_job(tunings):
    made = tunings.create()
    (tunings.bucket / "t.jsonl").unlink()
    tunings.prepare()
    assert tunings.get(made)["error"] == {"code": 3, "message": "No such object: shared/t.jsonl"}


class TestFilesThatAreAway:
    """Stores and directories that are away for a while fail no job; one that stays away does, and says so."""

    @pytest.fixture
    def away(self, workshop, tmp_path):
        """A job whose bucket has gone away since it was created."""
        (tmp_path / "bucket").mkdir()
        made = self.started(workshop, tmp_path / "bucket")
        made.write()
        made.create()
        made.bucket.rename(tmp_path / "elsewhere")
        return made

    def started(self, workshop, bucket):
        """A server over this workshop, which knows what the database has."""
        return tunings_over(workshop, bucket, file_patience=FilePatience(patience_seconds=600, most_gap_seconds=400))

    def pass_time(self, away, seconds):
        away.workshop.clock.advance(seconds=seconds)

    def shown(self, away):
        [job] = away.list()["tuningJobs"]
        return job

    def test_the_job_waits_and_says_why_and_goes_on_when_they_are_there_again(self, away, tmp_path):
        for _ in range(2 * MAX_ATTEMPTS):
            away.prepare()

        job = job_of(away)
        assert (job.state, job.attempts) == (JobState.PREPARING, 0)
        assert "The directory of the bucket 'shared' is not there at the moment" in away.preparing.waits_for(job.id)
        assert job.preparation.unread is not None
        (tmp_path / "elsewhere").rename(away.bucket)
        away.prepare()
        assert (job_of(away).state, job_of(away).preparation.unread) == (JobState.QUEUED, None)

    def test_the_job_is_not_tried_again_at_once(self, away):
        away.preparer.start()
        wait_until(lambda: away.preparing.waits_for(job_of(away).id), what="the job was tried once")

        assert away.preparer._not_before[job_of(away).id] > time.monotonic() + 3
        away.preparer.close()

    def test_the_job_fails_when_they_have_been_away_for_long_enough_through_restarts_of_the_server(self, away):
        away.prepare()
        for seconds in (300, 290):
            self.pass_time(away, seconds)
            away = self.started(away.workshop, away.bucket)
            away.prepare()
            assert job_of(away).state is JobState.PREPARING
        away = self.started(away.workshop, away.bucket)
        self.pass_time(away, 10)
        away.prepare()

        error = self.shown(away)["error"]
        assert error["code"] == 14
        assert error["message"].startswith(
            "Its files could not be read for 10 minutes. The last time: The directory of"
        )

    def test_the_job_can_be_cancelled_meanwhile(self, away):
        away.prepare()
        away.cancel(self.shown(away))

        assert self.shown(away)["state"] == "JOB_STATE_CANCELLED"


class TestWhoMayRead:
    """Buckets may be deleted, and made again by others, while jobs that name them wait."""

    @pytest.fixture
    def records(self, tunings):
        return BucketRecords(BucketSettings(root=tunings.bucket.parent / "buckets"))

    @pytest.fixture
    def write(self, tunings, records):
        def write(owner, project=""):
            records.add(BucketRecord(name="own", owner=owner, project=project, create_time=tunings.workshop.clock()))
            (records.root / "own" / "t.jsonl").write_bytes(b"".join(row + b"\n" for row in ROWS))
            return {"supervisedTuningSpec": {"trainingDatasetUri": "gs://own/t.jsonl"}}

        return write

    @pytest.fixture
    def take_over(self, records, write):
        def take_over(owner, project=""):
            (records.root / "own" / "t.jsonl").unlink()
            records.remove("own")
            write(owner, project)

        return take_over

    @pytest.mark.parametrize("is_validation", [False, True])
    def test_a_bucket_that_somebody_else_has_made_meanwhile_is_not_read(self, tunings, write, take_over, is_validation):
        body = write(ADA.email)
        if is_validation:
            body = {"supervisedTuningSpec": {"validationDatasetUri": "gs://own/t.jsonl"}}
        made = tunings.create(**body)
        take_over(Email("bob@example.com"))
        tunings.prepare()

        assert tunings.get(made)["error"] == {"code": 3, "message": "The specified bucket does not exist."}
        assert files_of(tunings) == set()

    def test_the_project_of_the_key_counts_too(self, tunings, write, take_over):
        bound = replace(ADA, project="p")
        made = tunings.create(bound, **write(ADA.email, "p"))
        take_over(ADA.email, "q")
        tunings.prepare()

        assert tunings.get(made)["state"] == "JOB_STATE_FAILED"

    def test_a_bucket_that_its_owner_has_made_again_is_read(self, tunings, write, take_over):
        tunings.create(**write(ADA.email))
        take_over(ADA.email)
        tunings.prepare()

        assert job_of(tunings).state is JobState.QUEUED

    @pytest.mark.parametrize(("owner", "state"), [(ADA.email, JobState.QUEUED), ("bob@example.com", JobState.FAILED)])
    def test_a_job_of_a_version_that_recorded_no_reader_is_read_for_its_owner(
        self, tunings, write, take_over, owner, state
    ):
        tunings.create(**write(ADA.email))
        job = job_of(tunings)
        options = training_options.options_of(replace(job, preparation=replace(job.preparation, reader=None)))
        with tunings.workshop.database.write() as connection:
            connection.execute(schema.tuning_jobs.update().values(training_options=options))
        take_over(Email(owner))
        tunings.prepare()

        assert job_of(tunings).state is state


def test_a_job_with_too_many_steps_fails_before_the_first(tunings):
    tunings.write(rows=[row_of("a", "b")] * 5_000)
    made = tunings.create(supervisedTuningSpec={"hyperParameters": {"epochCount": 1000, "batchSize": 1}})
    tunings.prepare()
    shown = tunings.get(made)
    assert shown["error"]["code"] == 3
    assert "5000000 steps; at most 1000000 are allowed" in shown["error"]["message"]
    assert files_of(tunings) == set()


def test_a_server_that_was_killed_while_it_prepared_a_job_prepares_it_again(tunings):
    tunings.create(**VALIDATION)
    assert tunings.preparing.claim() is not None
    assert tunings.preparing.claim() is None

    # Another object of the same server, as after kill -9.
    again = tunings_over(tunings.workshop, tunings.bucket)
    assert again.preparing.requeue_interrupted() == [job_of(tunings).id]
    again.train()

    assert job_of(tunings).state is JobState.SUCCEEDED


def test_a_crash_between_the_dataset_and_the_row_does_not_keep_the_job_from_being_prepared(tunings):
    tunings.create(**VALIDATION)
    request = tunings.preparing.claim()
    prepared = tunings.preparers.prepare(request)
    staged = tunings.preparing._staged(prepared.training)  # Why: what `finish` does before its row
    tunings.workshop.artifacts.place_dataset(staged, request.job_id)

    again = tunings_over(tunings.workshop, tunings.bucket)
    again.preparing.requeue_interrupted()
    again.train()

    assert job_of(tunings).state is JobState.SUCCEEDED


def test_a_job_fails_after_its_preparer_has_died_often_enough(tunings):
    made = tunings.create()
    tunings.preparers.deaths = MAX_ATTEMPTS
    for _ in range(MAX_ATTEMPTS - 1):
        tunings.prepare()
        assert tunings.get(made)["state"] == "JOB_STATE_PENDING"
    tunings.prepare()

    error = tunings.get(made)["error"]
    assert error["code"] == 13
    assert error["message"].endswith("The last time: the preparer was killed by signal 9")
    assert files_of(tunings) == set()


def test_deaths_before_a_job_was_prepared_do_not_count_in_training(tunings):
    tunings.create()
    tunings.preparers.deaths = 1
    tunings.prepare()
    tunings.prepare()
    assert (job_of(tunings).state, job_of(tunings).attempts) == (JobState.QUEUED, 0)


def held_up(tunings):
    """A job whose preparation waits, in the loop."""
    tunings.preparers.go_on.clear()
    made = tunings.create()
    tunings.preparer.start()
    tunings.preparer.wake()
    wait_until(tunings.preparers.begun.is_set)
    return made


def test_a_job_that_is_cancelled_while_it_is_prepared_ends_at_once(tunings):
    made = held_up(tunings)
    tunings.cancel(made)

    shown = tunings.get(made)
    assert (shown["state"], shown["error"]["code"]) == ("JOB_STATE_CANCELLED", 1)
    wait_until(lambda: files_of(tunings) == set())


def test_a_job_that_is_deleted_while_it_is_prepared_leaves_no_files(tunings):
    held_up(tunings)
    [tuned] = tunings.workshop.tuning.list(ADA).items
    tunings.workshop.tuning.delete(ADA, tuned.model.id)

    wait_until(lambda: files_of(tunings) == set())
    assert tunings.list() == {}


@pytest.mark.parametrize("ends", ["cancelled", "deleted"])
def test_a_job_that_ends_when_its_preparation_is_just_done_leaves_no_files(tunings, ends):
    made = tunings.create()
    request = tunings.preparing.claim()
    prepared = tunings.preparers.prepare(request)
    assert files_of(tunings) == {"work"}
    if ends == "cancelled":
        tunings.cancel(made)
    else:
        [tuned] = tunings.workshop.tuning.list(ADA).items
        tunings.workshop.tuning.delete(ADA, tuned.model.id)
    tunings.preparing.finish(request.job_id, prepared)

    assert files_of(tunings) == set()


def test_a_job_of_which_nothing_could_be_written_is_prepared_again(tunings):
    class Away(Preparing):
        """The database is away when the first preparation ends."""

        refused = 0

        def finish(self, job_id, prepared):
            self._refuse("finish")
            super().finish(job_id, prepared)

        def give_back(self, job_id, *, died, reason):
            self._refuse("give_back")
            super().give_back(job_id, died=died, reason=reason)

        def _refuse(self, method):
            if self.refused < 2:
                self.refused += 1
                raise Busy(f"The database is away: {method}.", retry_seconds=1)

    made = tunings.create()
    away = tunings_over(tunings.workshop, tunings.bucket, preparing=Away, lease_seconds=0.1, pause_seconds=0.02)
    away.preparer.start()
    try:
        wait_until(lambda: job_of(tunings).state is JobState.QUEUED)
    finally:
        away.preparer.close()
    assert away.preparing.refused == 2
    assert tunings.get(made)["state"] == "JOB_STATE_PENDING"
    assert job_of(tunings).attempts == 0


def test_a_server_without_the_adapter_that_a_job_goes_on_from_leaves_the_job_to_the_one_that_has_it(tunings, tmp_path):
    first = tunings.create()
    tunings.train()
    model = tunings.get(first)["tunedModel"]["model"]
    spec = {"trainingDatasetUri": URI}
    body = {"supervisedTuningSpec": spec, "preTunedModel": {"tunedModelName": model}}
    tunings.call(tunings.methods.create, {}, body=body)
    elsewhere = replace(tunings.workshop, artifacts=Artifacts(tmp_path / "elsewhere"))

    assert tunings_over(elsewhere, tunings.bucket).preparing.claim() is None
    tunings.train()
    with tunings.workshop.database.read() as connection:
        assert set(tuning_jobs.states(connection).values()) == {JobState.SUCCEEDED}


def test_a_server_that_is_stopped_gives_its_job_back(tunings):
    held_up(tunings)
    tunings.preparer.close()
    job = job_of(tunings)
    assert (job.state, job.attempts) == (JobState.PREPARING, 0)
    assert tunings.preparing.claim() is not None


def test_the_loop_prepares_all_jobs_and_says_so(tunings):
    said = threading.Event()
    tunings.preparer._prepared = said.set  # Why: the dispatcher of the workshop is not started
    made = [tunings.create() for _ in range(3)]
    tunings.preparer.start()
    wait_until(lambda: all("WAITING_FOR_CAPACITY" in tunings.get(each).get("tuningJobState", "") for each in made))
    assert said.is_set()


def test_another_servers_job_waits_again_when_its_lease_has_run_out(tunings):
    tunings.create()
    with tunings.workshop.database.write() as connection:
        preparing_jobs.take(connection, job_of(tunings).id, ServerId("another"))
    moment = [0.0]
    watching = tunings_over(tunings.workshop, tunings.bucket, monotonic=lambda: moment[0])

    assert tunings.preparing.claim() is None
    assert watching.preparing.keep_leases() == []
    released = []
    for _ in range(6):
        moment[0] += LEASE_SECONDS / 3
        released += watching.preparing.keep_leases()
    assert released == [job_of(tunings).id]
    assert tunings.preparing.claim() is not None


def test_owners_take_turns(tunings):
    bob = replace(ADA, email="bob@example.com", project="local")
    for principal in (None, None, bob):
        tunings.create(**({} if principal is None else {"principal": principal}))
    tunings.prepare()
    tunings.prepare()
    bobs = tunings.list(principal=bob)["tuningJobs"]
    assert [job["tuningJobState"] for job in bobs] == ["TUNING_JOB_STATE_WAITING_FOR_CAPACITY"]


def states_of(tunings, principal=None):
    listed = tunings.list(**({} if principal is None else {"principal": principal}))
    return [job.get("tuningJobState", "").removeprefix("TUNING_JOB_STATE_") for job in listed["tuningJobs"]]


def test_projects_take_turns_before_owners(tunings):
    bob, carol = (replace(ADA, email=f"{name}@example.com", project="local") for name in ("bob", "carol"))
    other = {"project": "q", "location": "europe-west4"}
    tunings.create()
    tunings.create(principal=bob)
    tunings.create(principal=carol, place=other)
    tunings.prepare()
    tunings.prepare()
    waiting = tunings.list(principal=carol, place=other)["tuningJobs"]
    assert [job["tuningJobState"] for job in waiting] == ["TUNING_JOB_STATE_WAITING_FOR_CAPACITY"]
    assert states_of(tunings, bob) == ["PROCESSING_DATASET"]


def test_a_file_that_hangs_holds_up_nobody_but_its_owner(tunings):
    held_up(tunings)
    [adas] = held_by(tunings)
    tunings.create()
    bob = replace(ADA, email="bob@example.com", project="local")
    tunings.create(principal=bob)
    # Bob's turn has come, though Ada's first file has not been read to its end.
    wait_until(lambda: len(held_by(tunings)) == 2)
    assert adas in held_by(tunings)
    # Ada's second job waits, though there are places.
    assert len(waiting_in(tunings)) == 1


def held_by(tunings):
    with tunings.workshop.database.read() as connection:
        return {lease.claim.job_id for lease in leases.preparing(connection)}


def waiting_in(tunings):
    with tunings.workshop.database.read() as connection:
        return [job.id for job in preparing_jobs.waiting(connection)]


def test_a_job_that_has_to_wait_again_keeps_no_other_from_its_turn(tunings):
    class Unreachable(InProcessPreparers):
        """Of Ada's files none can be reached."""

        def prepare(self, request):
            if request.job_id == self.unreachable:
                raise Unavailable("the bucket does not answer")
            return super().prepare(request)

    made = tunings.create()
    preparers = Unreachable(tunings.workshop.artifacts.store)
    preparers.unreachable = job_of(tunings).id
    bob = replace(ADA, email="bob@example.com", project="local")
    tunings.create(principal=bob)
    loop = Preparer(tunings.preparing, preparers, poll_seconds=0.02, pause_seconds=600)
    loop.start()
    try:
        wait_until(lambda: states_of(tunings, bob) == ["WAITING_FOR_CAPACITY"])
        assert loop.waits_for(preparers.unreachable) == "its examples could not be read: the bucket does not answer"
    finally:
        loop.close()
    assert tunings.get(made)["state"] == "JOB_STATE_PENDING"


@pytest.mark.parametrize("base", ["faulty", "missing"])
def test_a_job_without_its_base_says_so_and_fails_after_a_while(tunings, base):
    made = tunings.create()
    moment = [0.0]
    without = preparing_without_base(tunings, base, moment)
    assert without.claim() is None
    said = without.waits_for(job_of(tunings).id)
    assert "no such file" in said if base == "faulty" else said.startswith("this server does not have the base model")
    moment[0] = BASE_PATIENCE_SECONDS - 1
    without.claim()
    assert without.end_hopeless() == []

    moment[0] += 1
    without.claim()
    assert without.end_hopeless() == [job_of(tunings).id]
    error = tunings.get(made)["error"]
    assert error["code"] == 9
    assert error["message"].startswith("The job waited for 60 minutes, since this server ")
    assert files_of(tunings) == set()


def test_a_job_without_its_base_waits_on_while_another_server_prepares_jobs(tunings):
    tunings.create()
    moment = [0.0]
    without = preparing_without_base(tunings, "missing", moment)
    with tunings.workshop.database.write() as connection:
        preparing_jobs.take(connection, job_of(tunings).id, ServerId("another"))
    tunings.create()
    for _ in range(3):
        moment[0] += BASE_PATIENCE_SECONDS
        without.claim()
        renew(tunings)
        without.keep_leases()
        assert without.end_hopeless() == []


def renew(tunings):
    with tunings.workshop.database.write() as connection:
        leases.renew(connection, [lease.claim for lease in leases.preparing(connection)])


def preparing_without_base(tunings, why, moment):
    """The use cases of a server whose base cannot be used, or that has no base."""
    models = [replace(base, fault="no such file") for base in ECHO_CATALOG.models] if why == "faulty" else []
    made = tunings_over(
        tunings.workshop,
        tunings.bucket,
        catalog=replace(ECHO_CATALOG, models=tuple(models)),
        monotonic=lambda: moment[0],
    )
    return made.preparing


def test_what_a_server_wrote_for_a_job_is_removed_when_another_server_has_taken_it_over(tunings):
    tunings.create()
    request = tunings.preparing.claim()
    tunings.preparers.prepare(request)
    assert files_of(tunings) == {"work"}
    with tunings.workshop.database.write() as connection:
        preparing_jobs.release(connection, request.job_id)
        preparing_jobs.take(connection, request.job_id, ServerId("another"))

    tunings.preparing.tidy(besides=[request.job_id])
    assert files_of(tunings) == {"work"}, "its preparer still writes"
    tunings.preparing.let_go(besides=[])
    tunings.preparing.tidy()
    assert files_of(tunings) == set()


@pytest.mark.parametrize("ends", ["cancelled", "deleted"])
def test_a_job_that_ends_while_it_waits_again_leaves_no_files(tunings, ends):
    made = tunings.create()
    tunings.preparers.deaths = 1
    tunings.prepare()
    assert files_of(tunings) == {"work"}
    if ends == "cancelled":
        tunings.cancel(made)
    else:
        [tuned] = tunings.workshop.tuning.list(ADA).items
        tunings.workshop.tuning.delete(ADA, tuned.model.id)
    tunings.preparing.tidy()
    assert files_of(tunings) == set()


def test_a_queued_job_that_is_cancelled_leaves_only_its_examples(tunings):
    tunings.create()
    tunings.train()
    model = tunings.get(tunings.list()["tuningJobs"][0])["tunedModel"]["model"]
    body = {"supervisedTuningSpec": {"trainingDatasetUri": URI}, "preTunedModel": {"tunedModelName": model}}
    further = tunings.call(tunings.methods.create, {}, body=body)
    tunings.prepare()
    assert tunings.workshop.artifacts.job_ids("work")

    tunings.cancel(further)
    assert tunings.workshop.artifacts.job_ids("work") == set()


def test_only_one_server_takes_a_waiting_job(database):
    keep(database, replace(new_job("a"), state=JobState.PREPARING, is_prepared=False))
    with database.write() as connection:
        first = preparing_jobs.take(connection, "a-job", ServerId("one"))
        second = preparing_jobs.take(connection, "a-job", ServerId("two"))
        assert first is not None
        assert second is None
        assert [lease.claim for lease in leases.preparing(connection)] == [first]
        assert leases.running(connection) == []
        preparing_jobs.release(connection, "a-job")
        assert leases.preparing(connection) == []
        assert [(job.id, job.tenant.owner) for job in preparing_jobs.waiting(connection)] == [
            ("a-job", "ada@example.com")
        ]
