"""Any life that jobs can have: created, taken up, cancelled, deleted, finished, and cut off by crashes in between.

A state machine makes the moves in any order, a crash being a move too: then the server is built anew over the same
files. After each move everything that clients were told must still hold, and the table and the directory must agree.
"""

import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from prometheus_client import CollectorRegistry

from exploring import often
from fakes import ECHO_CATALOG, Clock
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.errors import Code, NotFound
from tuningfork.domain.hyperparameters import RequestedHyperparameters
from tuningfork.domain.tuned_model import ModelState
from tuningfork.domain.tuning_job import JobId, JobState, Snapshot, TuningJob
from tuningfork.service.metrics import Metrics
from tuningfork.service.tuning.running import MAX_ATTEMPTS, Running, StepReply
from tuningfork.service.tuning.tuning import Tuned, Tuning
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database
from workshop import ADA, SERVER, number_request

STEPS = 2
MODELS_AT_A_TIME = 3
MOVES = ["create", "create", "cancel", "delete", "make_room", "take_up", *["work"] * 5, "crash"]
ENDS = ["finish", "finish", "finish before", "finish after", "rest", "rest", "unheard", "die", "fail"]
REQUEST = number_request(hyperparameters=RequestedHyperparameters(epoch_count=1, batch_size=8))


class Crash(Exception):
    """The power goes off at this point."""


class CrashingArtifacts(Artifacts):
    """A directory whose server may die right after, or right before, an adapter is in place."""

    crash: str = ""

    def install_adapter(self, job_id: JobId, finished: ArtifactRef) -> Path:
        if self.crash == "before":
            raise Crash
        place = super().install_adapter(job_id, finished)
        if self.crash == "after":
            raise Crash
        return place


class JobLives(RuleBasedStateMachine):
    """`acknowledged` is what clients know: their models, and the ends that they have seen."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="job-lives-"))
        shutil.copy(self.migrated_file, self.root / "tuningfork.db")
        self.clock = Clock()
        self.acknowledged: dict[str, Tuned] = {}
        self.deleted: list[Tuned] = []
        # The trainers' side: job -> steps in its last savepoint, and steps taken.
        self.savepoints: dict[JobId, int] = {}
        self.training: dict[JobId, int] = {}
        # The furthest step that each job has reported, and the step up to which a suspect is trained alone.
        self.furthest: dict[JobId, int] = {}
        self.alone_until: dict[JobId, int] = {}
        self.start()

    migrated_file: Path

    def start(self) -> None:
        self.database = Database.open(f"sqlite:///{self.root / 'tuningfork.db'}")
        self.artifacts = CrashingArtifacts(self.root)
        metrics = Metrics(CollectorRegistry(), self.database)
        parts = (self.database, self.artifacts, ECHO_CATALOG, self.clock)
        self.tuning = Tuning(*parts, random.getrandbits, metrics)
        self.running = Running(*parts, metrics, server=SERVER, savepoint_every=1)
        self.training = {}
        self.running.requeue_interrupted()
        self.running.sweep()

    def teardown(self) -> None:
        self.database.close()
        shutil.rmtree(self.root)

    @rule(move=st.sampled_from(MOVES), data=st.data())
    def move(self, move: str, data: st.DataObject) -> None:
        """One rule for all moves: the weights are ours, and no run is without work."""
        getattr(self, move)(data)

    # What clients do.

    def create(self, _data: st.DataObject) -> None:
        if len(self.acknowledged) < MODELS_AT_A_TIME:
            made = self.tuning.create(ADA, REQUEST)
            self.acknowledged[made.model.id] = made

    def cancel(self, data: st.DataObject) -> None:
        if self.acknowledged:
            made = data.draw(st.sampled_from(list(self.acknowledged.values())))
            self.tuning.cancel(ADA, made.model.id, made.job.id)

    def delete(self, data: st.DataObject) -> None:
        if self.acknowledged:
            made = data.draw(st.sampled_from(list(self.acknowledged.values())))
            self.tuning.delete(ADA, made.model.id)
            del self.acknowledged[made.model.id]
            self.deleted.append(made)

    def make_room(self, _data: st.DataObject) -> None:
        """Delete what is done, so that there is always something to do."""
        for made in [made for made in self.acknowledged.values() if made.job.state.is_final]:
            self.tuning.delete(ADA, made.model.id)
            del self.acknowledged[made.model.id]
            self.deleted.append(made)

    # What trainers do.

    def take_up(self, _data: st.DataObject) -> None:
        self.claim()

    def work(self, data: st.DataObject) -> None:
        """A trainer goes on with a job, and then does or suffers something."""
        if not self.training:
            self.claim()
        if self.training:
            job_id = data.draw(st.sampled_from(sorted(self.training)))
            steps, keeps_savepoint = data.draw(st.integers(0, STEPS)), data.draw(st.booleans())
            self.train(job_id, steps, keeps_savepoint=keeps_savepoint, end=data.draw(st.sampled_from(ENDS)))

    def claim(self) -> None:
        waiting = [made for made in self.seen() if made.job.state is JobState.QUEUED]
        assignment = self.running.claim()
        assert (assignment is None) == (not waiting)
        if assignment is None:
            return
        assert assignment.job_id == self.next_of([made.job for made in waiting])
        assert self.artifacts.store.path(assignment.dataset).is_file()
        step = self.savepoints.get(assignment.job_id, 0)
        remembered = [self.snapshot(taken) for taken in range(1, step + 1)]
        self.training[assignment.job_id] = step
        self.stops(assignment.job_id, self.running.resumed(assignment.job_id, step, remembered))

    def next_of(self, waiting: list[TuningJob]) -> JobId:
        """A suspect before all others: the one that has come least far, of these the newest. Otherwise the oldest."""
        suspects = [job for job in waiting if self.furthest.get(job.id, 0) < self.alone_until.get(job.id, 0)]
        if suspects:
            return min(suspects, key=lambda job: (self.furthest.get(job.id, 0), -job.create_time.timestamp())).id
        return min(waiting, key=lambda job: job.create_time).id

    def train(self, job_id: JobId, steps: int, *, keeps_savepoint: bool, end: str) -> None:
        for _ in range(min(steps, STEPS - self.training[job_id])):
            self.training[job_id] += 1
            if keeps_savepoint:
                self.savepoints[job_id] = self.training[job_id]
            if end == "unheard":
                self.crash()
                return
            reply = self.running.record(job_id, self.snapshot(self.training[job_id]), tokens=12)
            self.furthest[job_id] = max(self.furthest.get(job_id, 0), self.training[job_id])
            if self.stops(job_id, reply):
                return
        match end.split():
            case ["finish", *crash] if self.training[job_id] == STEPS:
                self.finish(job_id, "".join(crash))
            case ["die"]:
                self.running.give_back(job_id, died=True)
                self.alone_until[job_id] = self.furthest.get(job_id, 0) + 1
                del self.training[job_id]
            case ["fail"]:
                self.running.fail(job_id, Code.INTERNAL, "The loss is not finite.")
                self.leave(job_id)

    def finish(self, job_id: JobId, crash: str) -> None:
        self.artifacts.crash = crash
        try:
            self.running.finish(job_id, self.adapter(job_id))
        except Crash:
            self.crash()
        else:
            self.leave(job_id)

    def crash(self, _data: st.DataObject | None = None) -> None:
        """The server is killed, its trainers with it, and started again."""
        self.database.close()
        self.start()

    # What must hold after each move.

    @invariant()
    def everything_holds(self) -> None:
        now = self.seen()
        self.nothing_acknowledged_is_lost(now)
        self.an_end_stays_the_end(now)
        self.done_means_exactly_one_of_response_and_error(now)
        self.an_active_model_has_its_adapter_and_others_have_none(now)
        self.steps_have_no_gaps(now)
        self.running_means_that_a_trainer_has_it(now)
        self.files_are_those_of_the_rows()
        self.what_was_deleted_is_gone()

    def nothing_acknowledged_is_lost(self, seen: list[Tuned]) -> None:
        assert {made.model.id for made in seen} == set(self.acknowledged)

    def an_end_stays_the_end(self, seen: list[Tuned]) -> None:
        for now in seen:
            before = self.acknowledged[now.model.id]
            if before.job.state.is_final:
                assert now == before
            self.acknowledged[now.model.id] = now

    def done_means_exactly_one_of_response_and_error(self, seen: list[Tuned]) -> None:
        for now in seen:
            job, model = now.job, now.model
            assert (job.complete_time is not None) == job.state.is_final
            assert (job.error is not None) == (job.state in (JobState.FAILED, JobState.CANCELLED))
            assert (model.state is ModelState.CREATING) == (not job.state.is_final)
            assert model.state is not ModelState.FAILED or job.state is not JobState.SUCCEEDED
            if job.state.is_final:
                assert model.update_time == job.complete_time
            if job.state is JobState.CANCELLED:
                assert job.error.code is Code.CANCELLED
                assert (model.state is ModelState.ACTIVE) == (job.completed_steps > 0)

    def an_active_model_has_its_adapter_and_others_have_none(self, seen: list[Tuned]) -> None:
        for now in seen:
            directory = self.artifacts.adapter_directory(now.job.id)
            if now.model.state is ModelState.ACTIVE:
                assert (directory / "steps").read_text() == str(now.job.completed_steps)
            if now.model.state is ModelState.FAILED:
                assert not directory.exists()

    def steps_have_no_gaps(self, seen: list[Tuned]) -> None:
        for now in seen:
            assert [taken.step for taken in now.job.snapshots] == list(range(1, now.job.completed_steps + 1))
            assert now.job.state is not JobState.SUCCEEDED or now.job.completed_steps == STEPS
            assert now.job.attempts <= MAX_ATTEMPTS

    def running_means_that_a_trainer_has_it(self, seen: list[Tuned]) -> None:
        running = {now.job.id for now in seen if now.job.state is JobState.RUNNING}
        deleted = {made.job.id for made in self.deleted}
        assert running == set(self.training) - deleted

    def files_are_those_of_the_rows(self) -> None:
        known = {made.job.id for made in self.acknowledged.values()}
        assert self.artifacts.job_ids() - set(self.training) == known - set(self.training)
        assert all(self.artifacts.dataset_path(job_id).is_file() for job_id in known)

    def what_was_deleted_is_gone(self) -> None:
        for made in self.deleted[-3:]:
            with pytest.raises(NotFound):
                self.tuning.get(ADA, made.model.id)

    # Means.

    def seen(self) -> list[Tuned]:
        return list(self.tuning.list(ADA, page_size=1_000).items)

    def stops(self, job_id: JobId, reply: StepReply) -> bool:
        """A trainer that is told to stop does so between two steps."""
        if reply is StepReply.STOP:
            self.artifacts.crash = ""
            self.running.stopped(job_id, self.adapter(job_id) if self.training[job_id] else None)
            self.leave(job_id)
        return reply is StepReply.STOP

    def leave(self, job_id: JobId) -> None:
        del self.training[job_id]
        self.savepoints.pop(job_id, None)

    def adapter(self, job_id: JobId) -> ArtifactRef:
        ref = self.artifacts.work(job_id).below("adapter")
        with self.artifacts.store.writing(ref) as directory:
            directory.mkdir()
            (directory / "steps").write_text(str(self.training[job_id]))
        return ref

    def snapshot(self, step: int) -> Snapshot:
        return Snapshot(step=step, epoch=step * 8 // 15, mean_loss=8.0 / step, compute_time=self.clock())


@pytest.fixture
def job_lives(migrated_sqlite_file):
    """The machine, over a copy of tables that are there already."""
    JobLives.migrated_file = migrated_sqlite_file
    return JobLives


@pytest.mark.hypothesis  # Its plugin marks tests with `given` only.
@pytest.mark.parametrize("examples", [15, pytest.param(120, marks=pytest.mark.slow)])
def test_no_life_of_a_job_loses_it_or_ends_it_twice(job_lives, examples):
    state_machine = job_lives.TestCase
    state_machine.settings = settings(
        max_examples=often(examples),
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    state_machine().runTest()
