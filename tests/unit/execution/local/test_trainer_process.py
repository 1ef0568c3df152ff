"""What a trainer says of jobs that it cannot take up, and of adapters that it cannot write."""

import errno
import logging
import shutil
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from patience import PATIENCE_SECONDS
from tuningfork.artifacts.local import LocalArtifactStore
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.errors import BaseUnusable, Code, InternalError
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import Finished, Paused, Resumed, Stepped, Stopped, TrainingAssignment
from tuningfork.execution.local import trainer_process
from tuningfork.execution.local.environment import WEIGHTS_VARIABLE
from tuningfork.execution.local.messages import Admit, HeldUp, JobEvent, LoadingBase, Pause, Stop
from tuningfork.execution.local.obstacles import Waits
from tuningfork.execution.local.trainer_jobs import unwritten
from tuningfork.execution.local.trainer_process import Trainer
from tuningfork.modeling.device.available_memory import Memory
from tuningfork.modeling.loading import load_base
from tuningfork.modeling.memory_plan import BaseMemoryShort
from tuningfork.training.engine import TrainingEngine
from tuningfork.training.same_base import BaseWeightsReplaced


def admitted(trainer, assignment):
    """What a trainer says of a job that it is given, beside that it loads the job's base."""
    return [each for each in trainer.obey(Admit(assignment)) if isinstance(each, JobEvent)]


def test_a_job_that_was_deleted_after_it_was_taken_up_is_a_quiet_line(tiny_llama, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    assignment = TrainingAssignment(
        job_id=JobId("abc"),
        base=tiny_llama,
        dataset=ArtifactRef("datasets/abc.jsonl"),
        work=ArtifactRef("work/abc"),
        hyperparameters=Hyperparameters(epoch_count=1, batch_size=2, learning_rate=0.01),
        adapter=AdapterShape(rank=4, alpha=8.0),
        seed=7,
        savepoint_every=0,
    )
    trainer = Trainer(LocalArtifactStore(tmp_path))

    event = admitted(trainer, assignment)[-1]

    assert event.event.code is Code.NOT_FOUND
    assert trainer.idle
    [line] = [record for record in caplog.records if "abc" in record.getMessage()]
    assert (line.levelno, line.exc_info) == (logging.INFO, None)
    assert line.getMessage() == "job abc is gone: there is no artifact datasets/abc.jsonl"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_an_adapter_that_found_no_room_may_be_written_another_time(number):
    failed = unwritten(OSError(number, "no room"))
    assert failed.code is Code.RESOURCE_EXHAUSTED
    assert "could not be written at the end of the training" in failed.message


@pytest.mark.parametrize("error", [NotADirectoryError(errno.ENOTDIR, "Not a directory"), OSError("something else")])
def test_an_adapter_that_cannot_be_written_at_all_ends_its_job(error):
    failed = unwritten(error)
    assert failed.code is Code.INTERNAL
    assert failed.message.endswith("tune again")


@pytest.fixture
def store(tmp_path):
    store = LocalArtifactStore(tmp_path)
    with store.writing(ArtifactRef("datasets/abc.jsonl")) as path:
        path.write_text('{"text_input": "1", "output": "2"}\n{"text_input": "3", "output": "4"}\n' * 3)
    return store


@pytest.fixture
def assignment(tiny_llama):
    return TrainingAssignment(
        job_id=JobId("abc"),
        base=tiny_llama,
        dataset=ArtifactRef("datasets/abc.jsonl"),
        work=ArtifactRef("work/abc"),
        hyperparameters=Hyperparameters(epoch_count=2, batch_size=2, learning_rate=0.01),
        adapter=AdapterShape(rank=4, alpha=8.0),
        seed=7,
        savepoint_every=100,
    )


def test_a_job_that_is_admitted_again_takes_the_place_of_its_former_self(store, assignment):
    trainer = Trainer(store)
    list(trainer.obey(Admit(assignment)))
    events = [event.event for _ in range(2) for event in trainer.advance()]
    again = [event.event for event in trainer.obey(Admit(assignment))]
    events += [event.event for _ in range(7) for event in trainer.advance()]
    slots = trainer._engines[assignment.base]._base.slots

    assert again == [Resumed(step=0, snapshots=())]
    assert [event.snapshot.step for event in events if isinstance(event, Stepped)] == [1, 2, 1, 2, 3, 4, 5, 6]
    assert isinstance(events[-1], Finished)
    assert trainer.idle
    assert slots._residents == {}


class UnreadAtFirst(LocalArtifactStore):
    """A store whose savepoints, or other artifacts, cannot be read the first time."""

    def __init__(self, root, key):
        super().__init__(root)
        self.key = key
        self.unread = True

    @contextmanager
    def reading(self, ref, *, verified=False):
        if self.unread and self.key in ref.key:
            self.unread = False
            raise OSError(errno.EMFILE, "Too many open files")
        with super().reading(ref, verified=verified) as path:
            yield path


@pytest.mark.parametrize("key", ["savepoints", "datasets"])
def test_a_job_whose_files_cannot_be_read_keeps_its_savepoint_and_waits(store, assignment, tmp_path, caplog, key):
    before = Trainer(store)
    list(before.obey(Admit(assignment)))
    list(before.advance())
    list(before.obey(Pause(assignment.job_id)))
    list(before.advance())
    kept = store.refs_below(assignment.work.below("savepoints"))
    trainer = Trainer(UnreadAtFirst(tmp_path, key))

    at_first = admitted(trainer, assignment)
    waits = not trainer.idle
    kept_then = store.refs_below(assignment.work.below("savepoints"))
    events = []
    while not trainer.idle:
        events += [event.event for event in trainer.advance()]

    assert (at_first, waits) == ([], True)
    assert kept_then == kept
    assert len(kept) == 1
    assert (events[0].step, [each.step for each in events[0].snapshots]) == (1, [1])
    assert [event.snapshot.step for event in events if isinstance(event, Stepped)] == [2, 3, 4, 5, 6]
    assert isinstance(events[-1], Finished)
    assert "job abc waits for 1 s, since its files cannot be read: [Errno 24] Too many open files" in caplog.text
    assert trainer.waits == Waits()


def test_a_job_whose_bases_weights_were_replaced_keeps_its_savepoint_and_is_tried_again(
    store, assignment, caplog, monkeypatch
):
    before = Trainer(store)
    list(before.obey(Admit(assignment)))
    list(before.advance())
    list(before.obey(Pause(assignment.job_id)))
    list(before.advance())
    kept = store.refs_below(assignment.work.below("savepoints"))
    checked = []

    def replaced_at_first(*_, **__):
        checked.append(True)
        if len(checked) == 1:
            raise BaseWeightsReplaced("what this job has computed so far")

    # Why: other weights at the same place need a second base and a second trainer that loads it.
    monkeypatch.setattr("tuningfork.training.engine.check_same_base", replaced_at_first)
    trainer = Trainer(store, retry_seconds=(0.1,))

    at_first = admitted(trainer, assignment)
    kept_then = store.refs_below(assignment.work.below("savepoints"))
    events = []
    while not trainer.idle:
        events += [event.event for event in trainer.advance()]

    assert (at_first, kept_then) == ([], kept)
    assert isinstance(events[-1], Finished)
    assert (
        "job abc cannot go on, and is tried again in 0.1 seconds: the weights of the base model were replaced"
        in caplog.text
    )


def test_a_job_starts_over_when_its_bases_weights_are_kept_otherwise(store, assignment, monkeypatch, caplog, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = Trainer(store)
    list(before.obey(Admit(assignment)))
    list(before.advance())
    list(before.obey(Pause(assignment.job_id)))
    list(before.advance())
    monkeypatch.setenv(WEIGHTS_VARIABLE, "int8")
    trainer = Trainer(store)

    [resumed] = admitted(trainer, assignment)
    events = []
    while not trainer.idle:
        events += [event.event for event in trainer.advance()]

    assert resumed.event == Resumed(step=0, snapshots=())
    assert [event.snapshot.step for event in events if isinstance(event, Stepped)] == [1, 2, 3, 4, 5, 6]
    assert "job abc starts over: what this job has computed so far was computed over a base with --weights stored" in (
        caplog.text
    )


def test_a_job_that_waits_for_its_files_can_pause(store, assignment, tmp_path):
    trainer = Trainer(UnreadAtFirst(tmp_path, "datasets"))
    list(trainer.obey(Admit(assignment)))

    [paused] = trainer.obey(Pause(assignment.job_id))

    assert paused.event == Paused()
    assert trainer.idle


class Scarce:
    """Measures a machine of 16 GiB, of which nothing is free until `is_free`."""

    is_free = False

    def __call__(self, _device):
        return Memory(16 * 2**30, 16 * 2**30 if self.is_free else 0, "this machine")


@pytest.fixture
def scarce(store, loaded_llama, assignment):
    """A trainer over the base, and the memory that it finds."""
    memory = Scarce()
    trainer = Trainer(store)
    clock = lambda: datetime(2024, 3, 14, tzinfo=UTC)  # noqa: E731
    trainer._engines[assignment.base] = TrainingEngine(loaded_llama, clock=clock, measure=memory)
    return trainer, memory


def test_a_job_for_which_memory_is_short_waits_until_it_is_free(scarce, assignment, caplog):
    trainer, memory = scarce
    at_first = admitted(trainer, assignment)
    waits = not trainer.idle
    memory.is_free = True
    events = []
    while not trainer.idle:
        events += [event.event for event in trainer.advance()]

    assert (at_first, waits) == ([], True)
    assert [event.snapshot.step for event in events if isinstance(event, Stepped)] == [1, 2, 3, 4, 5, 6]
    assert isinstance(events[-1], Finished)
    assert "job abc waits for 1 s, since memory is short: an adapter of rank 4 takes" in caplog.text


def test_a_job_that_waits_for_memory_tells_so_and_ends_if_nothing_else_gives_memory_back(scarce, assignment):
    trainer, _ = scarce
    trainer.waits.memory_patience_seconds = 0.5

    told = list(trainer.obey(Admit(assignment)))
    while not trainer.idle:
        told += list(trainer.advance())

    assert [type(each) for each in told] == [HeldUp, JobEvent]
    assert told[0].reason.startswith("memory is short: an adapter of rank 4 takes")
    assert told[1].event.code is Code.UNAVAILABLE
    assert told[1].event.message.startswith("an adapter of rank 4 takes")
    assert "while this trainer trained no other job" in told[1].event.message


def test_a_job_waits_for_memory_as_long_as_others_are_trained(scarce, assignment):
    trainer, memory = scarce
    trainer.waits.memory_patience_seconds = 0.0
    memory.is_free = True
    second = replace(assignment, job_id=JobId("def"), work=ArtifactRef("work/def"))
    admitted(trainer, assignment)
    memory.is_free = False

    [told] = list(trainer.obey(Admit(second)))
    events = [told]
    while trainer._jobs:
        events += list(trainer.advance())
    memory.is_free = True
    while not trainer.idle:
        events += list(trainer.advance())

    assert isinstance(told, HeldUp)
    ends = [each.job_id for each in events if isinstance(each, JobEvent) and isinstance(each.event, Finished)]
    assert ends == ["abc", "def"]


class ShortAtFirst:
    """Finds no memory for the base a few times."""

    def __init__(self, times):
        self.times = times

    def __call__(self, *arguments, **options):
        self.times -= 1
        if self.times >= 0:
            raise BaseMemoryShort("base model models/tiny-llama needs 9.0 GiB of memory")
        return load_base(*arguments, **options)


def test_a_job_with_a_savepoint_never_gives_up_waiting_for_memory_for_its_base(scarce, store, assignment, monkeypatch):
    trainer, memory = scarce
    memory.is_free = True
    list(trainer.obey(Admit(assignment)))
    list(trainer.advance())
    list(trainer.obey(Pause(assignment.job_id)))
    list(trainer.advance())
    # Why: as in the next test.
    monkeypatch.setattr(trainer_process, "load_base", ShortAtFirst(2))
    restarted = Trainer(store)
    restarted.waits.memory_patience_seconds = 0.0

    told = list(restarted.obey(Admit(assignment)))
    while not restarted.idle:
        told += list(restarted.advance())

    assert [type(each) for each in told[:2]] == [LoadingBase, HeldUp]
    steps = [each.event.snapshot.step for each in told if isinstance(getattr(each, "event", None), Stepped)]
    assert steps == [2, 3, 4, 5, 6]
    assert isinstance(told[-1].event, Finished)


def test_a_job_whose_base_finds_no_memory_at_the_moment_waits_for_it(store, assignment, monkeypatch, tiny_llama):
    # Why: no test can fill the machine's memory, and the trainer measures it below this function.
    monkeypatch.setattr(trainer_process, "load_base", ShortAtFirst(1))
    trainer = Trainer(store)

    told = list(trainer.obey(Admit(assignment)))
    while not trainer.idle:
        told += list(trainer.advance())

    assert [type(each) for each in told[:4]] == [LoadingBase, HeldUp, LoadingBase, JobEvent]
    assert told[1].reason == "memory is short: base model models/tiny-llama needs 9.0 GiB of memory"
    assert isinstance(told[-1].event, Finished)


def test_a_job_that_waits_for_memory_can_be_stopped(scarce, assignment):
    trainer, _ = scarce
    admitted(trainer, assignment)

    [stopped] = trainer.obey(Stop(assignment.job_id))

    assert stopped.event == Stopped(adapter=None)
    assert trainer.idle


def test_a_job_that_has_begun_goes_on_when_memory_is_short(scarce, assignment):
    trainer, memory = scarce
    memory.is_free = True
    list(trainer.obey(Admit(assignment)))
    list(trainer.advance())
    list(trainer.obey(Pause(assignment.job_id)))
    list(trainer.advance())
    memory.is_free = False

    [resumed] = admitted(trainer, assignment)

    assert resumed.event.step == 1
    list(trainer.obey(Stop(assignment.job_id)))
    list(trainer.advance())
    assert trainer.idle


def test_a_cancelled_job_whose_files_stay_unread_ends_after_the_longest_wait(store, assignment, tmp_path):
    before = Trainer(store)
    list(before.obey(Admit(assignment)))
    list(before.advance())
    list(before.obey(Pause(assignment.job_id)))
    list(before.advance())
    unread = UnreadAtFirst(tmp_path, "savepoints")
    trainer = Trainer(unread)
    list(trainer.obey(Admit(assignment)))
    at_once = list(trainer.obey(Stop(assignment.job_id)))

    def try_again():
        unread.unread = True
        return list(trainer._open(trainer._opening[assignment.job_id]))

    later = [try_again() for _ in range(6)]
    [stopped] = try_again()

    assert (at_once, [type(each) for tried in later for each in tried]) == ([], [HeldUp] * 6)
    assert stopped.event == Stopped(adapter=None)
    assert trainer.idle


def test_a_job_that_is_admitted_again_while_it_waits_for_its_files_is_taken_up_once(store, assignment, tmp_path):
    trainer = Trainer(UnreadAtFirst(tmp_path, "datasets"))
    list(trainer.obey(Admit(assignment)))

    [resumed] = trainer.obey(Admit(assignment))

    assert resumed.event == Resumed(step=0, snapshots=())
    assert trainer._opening == {}
    assert trainer._preparing.idle


def test_a_job_that_pauses_goes_on_after_the_very_step_that_it_had_completed(store, assignment):
    def advance(trainer, steps):
        events = [event.event for _ in range(steps) for event in trainer.advance()]
        return [event.snapshot.mean_loss for event in events if isinstance(event, Stepped)]

    undisturbed = Trainer(store)
    list(undisturbed.obey(Admit(replace(assignment, work=ArtifactRef("work/other")))))
    whole = advance(undisturbed, 6)
    trainer = Trainer(store)
    list(trainer.obey(Admit(assignment)))
    before = advance(trainer, 3)
    list(trainer.obey(Pause(assignment.job_id)))
    [paused] = trainer.advance()
    [resumed] = admitted(Trainer(store), assignment)
    again = Trainer(store)
    list(again.obey(Admit(assignment)))

    assert paused.event == Paused()
    assert trainer.idle
    assert (resumed.event.step, [each.step for each in resumed.event.snapshots]) == (3, [1, 2, 3])
    assert before + advance(again, 3) == whole


class Unsteady:
    """Renderers of one base whose processes fail as often as is said: at their opening, and at texts after some."""

    def __init__(self, base):
        self.format = load_base(base).chat
        self.openings = self.texts = 0
        self.texts_before = None
        self.closed = []

    def is_ready(self, _):
        return False

    def chat_of(self, _):
        if self.openings:
            self.openings -= 1
            raise BaseUnusable("its renderer was killed")
        return self

    def close(self, base):
        self.closed.append(base)

    def render_example(self, example):
        if self.texts_before is not None:
            self.texts_before -= 1
        if self.texts and self.texts_before is not None and self.texts_before < 0:
            self.texts -= 1
            raise InternalError("could not render this")
        return self.format.render_example(example)

    def __getattr__(self, name):
        return getattr(self.format, name)


@pytest.fixture
def unsteady(assignment):
    return Unsteady(assignment.base)


def advance(trainer, until=lambda trainer: trainer.idle):
    events = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not until(trainer):
        assert time.monotonic() < deadline
        events += [event.event for event in trainer.advance() if isinstance(event, JobEvent)]
    return events


def steps(events):
    return [event.snapshot.step for event in events if isinstance(event, Stepped)]


@pytest.fixture
def begun(store, assignment):
    """The assignment of a job that has paused after its second step."""
    trainer = Trainer(store)
    list(trainer.obey(Admit(assignment)))
    for _ in range(2):
        list(trainer.advance())
    list(trainer.obey(Pause(assignment.job_id)))
    list(trainer.advance())
    assert trainer.idle
    return assignment


@pytest.mark.parametrize("failures", ["openings", "texts"])
def test_a_job_whose_renderer_fails_when_it_resumes_keeps_its_savepoint_and_is_tried_again(
    store, begun, unsteady, failures
):
    setattr(unsteady, failures, 2)
    unsteady.texts_before = 0
    trainer = Trainer(store, unsteady, retry_seconds=(0.0, 0.0))

    list(trainer.obey(Admit(begun)))
    events = advance(trainer)

    assert events[0].step == 2
    assert steps(events) == [3, 4, 5, 6]
    assert isinstance(events[-1], Finished)
    assert trainer._tries == {}


def test_a_job_whose_base_stays_unusable_ends_after_some_tries(store, begun, unsteady):
    unsteady.openings = 3
    trainer = Trainer(store, unsteady, retry_seconds=(0.0, 0.0))

    list(trainer.obey(Admit(begun)))
    [failed] = advance(trainer)

    assert (failed.code, failed.message) == (Code.INTERNAL, "its renderer was killed")
    assert unsteady.openings == 0
    assert trainer._tries == {}


def test_a_job_without_a_savepoint_fails_at_once_if_its_base_is_unusable(store, assignment, unsteady):
    unsteady.openings = 1
    trainer = Trainer(store, unsteady)

    list(trainer.obey(Admit(assignment)))
    [failed] = advance(trainer)

    assert failed.message == "its renderer was killed"


def test_a_job_whose_example_is_not_rendered_in_the_middle_goes_on_from_there(store, assignment, unsteady):
    trainer = Trainer(store, unsteady, retry_seconds=(0.0,))
    list(trainer.obey(Admit(assignment)))
    events = advance(trainer, lambda trainer: any(job.completed_steps == 2 for job in trainer._jobs.values()))
    unsteady.texts, unsteady.texts_before = 1, 0
    [engine] = trainer._engines.values()
    for job in engine._jobs.values():
        job.examples._kept.clear()
        job.examples._kept_tokens = 0

    events += advance(trainer)

    assert [event.step for event in events if isinstance(event, Resumed)] == [0, 2]
    assert steps(events) == [1, 2, 3, 4, 5, 6]
    assert isinstance(events[-1], Finished)


def test_a_job_that_is_stopped_while_its_base_is_read_keeps_what_it_has_learned(store, begun, unsteady):
    trainer = Trainer(store, unsteady)
    list(trainer.obey(Admit(begun)))

    at_once = list(trainer.obey(Stop(begun.job_id)))
    resumed, stopped = advance(trainer)

    assert at_once == []
    assert resumed.step == 2
    assert stopped == Stopped(adapter=begun.work.below("adapter"))
    assert store.has(stopped.adapter)


def test_a_job_that_is_stopped_while_its_base_is_read_for_the_first_time_stops_at_once(store, assignment, unsteady):
    trainer = Trainer(store, unsteady)
    list(trainer.obey(Admit(assignment)))

    [stopped] = trainer.obey(Stop(assignment.job_id))

    assert stopped.event == Stopped(adapter=None)
    assert trainer.idle


def test_a_base_that_cannot_be_loaded_leaves_no_renderer_behind(store, assignment, unsteady, tmp_path, tiny_llama):
    directory = shutil.copytree(tiny_llama.location, tmp_path / "broken")
    (directory / "model.safetensors").write_bytes(b"nothing")
    broken = replace(assignment, base=replace(tiny_llama, location=str(directory)))
    trainer = Trainer(store, unsteady)

    list(trainer.obey(Admit(broken)))
    [failed] = advance(trainer)

    assert failed.code is Code.INTERNAL
    assert unsteady.closed == [broken.base]


def test_jobs_of_a_base_that_is_named_twice_train_on_one_copy(store, assignment, monkeypatch):
    loads = []

    def load(base, **options):
        loads.append(base.name)
        return load_base(base, **options)

    # Why: a trainer loads its bases itself.
    monkeypatch.setattr(trainer_process, "load_base", load)
    other = replace(assignment.base, name="models/other", adapter=AdapterShape(rank=32, alpha=1.0))
    second = replace(assignment, job_id=JobId("def"), base=other, work=ArtifactRef("work/def"))
    trainer = Trainer(store)

    events = [*admitted(trainer, assignment), *admitted(trainer, second)]
    while not trainer.idle:
        events += trainer.advance()

    assert loads == [assignment.base.name]
    assert [type(each.event) for each in events if each.job_id == "abc"][-1] is Finished
    losses = {
        job: [e.event.snapshot.mean_loss for e in events if e.job_id == job and isinstance(e.event, Stepped)]
        for job in ("abc", "def")
    }
    assert losses["abc"] == losses["def"]


def test_a_job_tells_that_its_base_is_loaded_and_the_next_one_has_nothing_to_tell(store, assignment):
    trainer = Trainer(store)
    second = replace(assignment, job_id=JobId("def"), work=ArtifactRef("work/def"))

    first_said, second_said = list(trainer.obey(Admit(assignment))), list(trainer.obey(Admit(second)))

    assert first_said[0] == LoadingBase(assignment.job_id, assignment.base.name)
    assert [type(each) for each in (*first_said[1:], *second_said)] == [JobEvent, JobEvent]
