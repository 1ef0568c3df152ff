"""Two servers on one database: each holds what it runs, and nobody writes for a job that another one holds."""

from datetime import timedelta

import pytest

from fakes import Clock, InMemoryExecutor
from tuningfork.domain.checkpoint import Checkpoint
from tuningfork.domain.errors import Code
from tuningfork.domain.tuned_model import ModelState
from tuningfork.domain.tuning_job import JobState, Snapshot
from tuningfork.service.tuning.running import StepReply
from tuningfork.store import checkpoints
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.required_files import Need
from workshop import ADA, NUMBER_PAIRS, build_workshop, number_request

LEASE_SECONDS = 30.0


@pytest.fixture
def seconds():
    """The seconds of both machines; a test sets them."""
    return [1_000.0]


@pytest.fixture
def build(database, clock, seconds, tmp_path):
    """Builds a server over the database, by its id and the name of its data directory."""

    def build(server, data_directory, its_clock=clock):
        artifacts, executor = Artifacts(tmp_path / data_directory), InMemoryExecutor(its_clock)
        parts = (database, artifacts, its_clock, executor)
        return build_workshop(*parts, server=server, lease_seconds=LEASE_SECONDS, monotonic=lambda: seconds[0])

    return build


@pytest.fixture
def one(build):
    return build("one", "one")


@pytest.fixture
def two(build):
    """Another server, with a data directory of its own."""
    return build("two", "two")


@pytest.fixture
def beside(build):
    """Another server that has the first one's artifacts, as if both were over one store."""
    return build("beside", "one")


def record(workshop, tuned, step):
    taken = Snapshot(step=step, epoch=0, mean_loss=1.0 / step, compute_time=workshop.clock())
    return workshop.running.record(tuned.job.id, taken, tokens=1)


def pass_lease(seconds, *servers, alive=()):
    """Let a lease pass, in which these servers look after leases and only those renew that are `alive`."""
    given_back = []
    for _ in range(7):
        for server in (*alive, *servers):
            given_back += server.running.keep_leases()
        seconds[0] += LEASE_SECONDS / 6
    return given_back


def test_a_server_that_starts_leaves_anothers_running_job_alone(one, two):
    tuned = one.tuning.create(ADA, number_request())
    one.running.claim()

    assert two.running.requeue_interrupted() == []
    assert one.job(tuned).state is JobState.RUNNING
    assert record(one, tuned, 1) is StepReply.CONTINUE


def test_a_server_does_not_claim_a_job_whose_examples_it_does_not_have(one, two):
    tuned = one.tuning.create(ADA, number_request())

    assert two.running.claim() is None
    assert two.running.turns.without_data() == {tuned.job.id: [Need.EXAMPLES]}
    assert one.running.turns.without_data() == {}
    assert one.running.claim().job_id == tuned.job.id


def test_a_job_that_loses_files_while_it_waits_is_told_once_for_each_loss(one, two, tmp_path):
    request = number_request(validation=NUMBER_PAIRS[:2])
    tuned = one.tuning.create(ADA, request)
    turns, place = one.running.turns, one.artifacts.store.path(one.artifacts.validation(tuned.job.id))
    turns.turn({}, 1)
    assert turns.newly_without_data() == {}

    for _ in range(2):
        place.rename(tmp_path / "elsewhere")
        for found in ({tuned.job.id: [Need.VALIDATION]}, {}):
            assert turns.turn({}, 1).next == ()
            assert turns.newly_without_data() == found
        (tmp_path / "elsewhere").rename(place)
        assert turns.turn({}, 1).next == (tuned.job.id,)
        assert turns.newly_without_data() == {}

    assert turns.has_some_files(tuned.job.id)
    assert not two.running.turns.has_some_files(tuned.job.id)


def test_jobs_of_others_that_wait_longer_do_not_keep_a_server_from_its_own(one, two):
    for _ in range(3):
        one.tuning.create(ADA, number_request())
    own = two.tuning.create(ADA, number_request())

    assert two.running.claim().job_id == own.job.id


def test_a_job_stays_with_a_server_that_renews_its_lease(one, beside, seconds):
    tuned = one.tuning.create(ADA, number_request())
    one.running.claim()

    for _ in range(3):
        assert pass_lease(seconds, beside, alive=[one]) == []
    assert one.job(tuned).state is JobState.RUNNING
    assert beside.running.claim() is None


def test_a_job_goes_to_another_server_once_its_lease_has_run_out(one, beside, seconds):
    tuned = one.tuning.create(ADA, number_request())
    one.running.claim()
    record(one, tuned, 1)

    assert pass_lease(seconds, beside) == [tuned.job.id]
    assert beside.running.claim().job_id == tuned.job.id
    assert beside.running.resumed(tuned.job.id, 0) is StepReply.CONTINUE
    assert record(beside, tuned, 1) is StepReply.CONTINUE


def test_a_job_whose_server_has_gone_waits_for_one_that_has_its_examples(one, two, build, seconds):
    tuned = one.tuning.create(ADA, number_request())
    one.running.claim()

    assert pass_lease(seconds, two) == [tuned.job.id]
    assert two.running.claim() is None
    assert one.job(tuned).state is JobState.QUEUED
    assert build("one", "one").running.claim().job_id == tuned.job.id


def test_a_server_takes_its_own_jobs_back_at_once_when_it_starts_again(one, build):
    tuned = one.tuning.create(ADA, number_request())
    one.running.claim()
    again = build("one", "one")

    assert again.running.requeue_interrupted() == [tuned.job.id]
    assert again.running.claim().job_id == tuned.job.id
    # The life before, if it lives on after all, writes nothing.
    assert record(one, tuned, 1) is StepReply.STOP
    assert record(again, tuned, 1) is StepReply.CONTINUE


class TestPaused:
    """A server that was paused for longer than a lease, and whose trainer went on."""

    @pytest.fixture
    def taken(self, one, beside, seconds):
        """The job that it held, and that another server has now."""
        tuned = one.tuning.create(ADA, number_request())
        one.running.claim()
        record(one, tuned, 1)
        pass_lease(seconds, beside)
        assert beside.running.claim().job_id == tuned.job.id
        assert beside.running.resumed(tuned.job.id, 0) is StepReply.CONTINUE
        record(beside, tuned, 1)
        return tuned

    @pytest.fixture
    def before(self, one, taken):
        """The job as the other server has it."""
        return one.job(taken)

    def test_its_next_step_is_refused_and_its_trainer_stops(self, one, taken, before):
        assert record(one, taken, 2) is StepReply.STOP
        assert one.job(taken) == before

    def test_it_asks_for_its_job_to_stop_without_waiting_for_a_step(self, one, beside, taken):
        assert one.running.unwanted([taken.job.id]) == {taken.job.id}
        assert beside.running.unwanted([taken.job.id]) == set()

    def test_its_resumption_is_refused(self, one, taken, before):
        assert one.running.resumed(taken.job.id, 0) is StepReply.STOP
        assert one.job(taken) == before

    @pytest.mark.parametrize("end", ["finish", "stopped", "fail", "died"])
    def test_its_end_is_refused(self, one, taken, before, end, tmp_path):
        partial = tmp_path / "partial"
        partial.mkdir()
        match end:
            case "finish":
                one.running.finish(taken.job.id, partial)
            case "stopped":
                one.running.stopped(taken.job.id, partial)
            case "fail":
                one.running.fail(taken.job.id, Code.INTERNAL, "why")
            case "died":
                one.running.give_back(taken.job.id, died=True)

        assert one.job(taken) == before
        assert not one.artifacts.adapter_directory(taken.job.id).exists()

    def test_it_renews_nothing(self, one, beside, taken, seconds):
        # The job's second server has died too: only its own renewals would have kept the job.
        assert pass_lease(seconds, one) == [taken.job.id]

    def test_it_may_take_the_job_up_again_and_an_older_write_of_its_own_changes_nothing(self, one, beside, taken):
        beside.running.give_back(taken.job.id, died=False)
        assert one.running.turns.turn({taken.job.id: 0.0}, 8).next == (), "its first trainer has not stopped yet"
        assert one.running.claim().job_id == taken.job.id
        assert record(one, taken, 2) is StepReply.CONTINUE


def test_a_pause_in_which_nobody_took_the_job_costs_nothing(one, seconds):
    tuned = one.tuning.create(ADA, number_request())
    one.running.claim()
    one.running.keep_leases()
    seconds[0] += 100 * LEASE_SECONDS

    assert one.running.keep_leases() == []
    assert record(one, tuned, 1) is StepReply.CONTINUE


@pytest.mark.parametrize("skew", [timedelta(days=-1), timedelta(minutes=5), timedelta(days=365)])
def test_a_clock_that_is_wrong_takes_no_job_from_anybody(one, build, clock, seconds, skew):
    wrong = build("wrong", "one", Clock(clock() + skew))
    tuned = one.tuning.create(ADA, number_request())
    one.running.claim()

    assert pass_lease(seconds, wrong, alive=[one]) == []
    assert record(one, tuned, 1) is StepReply.CONTINUE
    # And a server that has gone is missed as soon as ever.
    assert pass_lease(seconds, wrong) == [tuned.job.id]


def test_a_cancelled_job_without_steps_ends_when_its_server_has_gone(one, two, seconds):
    tuned = one.tuning.create(ADA, number_request())
    one.running.claim()
    one.tuning.cancel(ADA, tuned.model.id)

    assert pass_lease(seconds, two) == [tuned.job.id]
    assert one.job(tuned).state is JobState.CANCELLED


def test_a_finished_job_leaves_its_last_weights_as_the_default_checkpoint(one, database):
    tuned = one.tuning.create(ADA, number_request())
    one.advance()

    done = one.tuning.get(ADA, tuned.model.id)
    with database.read() as connection:
        kept = checkpoints.checkpoints_of(connection, tuned.job.id)
    assert (done.model.state, done.model.default_checkpoint) == (ModelState.ACTIVE, 1)
    assert kept == (
        Checkpoint(
            job_id=tuned.job.id,
            number=1,
            step=19,
            epoch=5,
            artifact=f"adapters/{tuned.job.id}",
            metrics={"mean_loss": done.job.snapshots[-1].mean_loss},
        ),
    )


def test_a_job_that_fails_leaves_no_checkpoint(one, database):
    tuned = one.tuning.create(ADA, number_request())
    one.running.claim()
    record(one, tuned, 1)
    one.running.fail(tuned.job.id, Code.INTERNAL, "why")

    with database.read() as connection:
        assert checkpoints.checkpoints_of(connection, tuned.job.id) == ()
    assert one.tuning.get(ADA, tuned.model.id).model.default_checkpoint is None


def test_a_model_and_its_job_are_their_callers_projects(one):
    tuned = one.tuning.create(ADA, number_request())
    assert (tuned.model.project, tuned.model.location) == (ADA.project, "global")
    assert (tuned.job.project, tuned.job.location) == (ADA.project, "global")
    assert one.tuning.get(ADA, tuned.model.id) == tuned
