"""A probe makes a few steps over a base, tells how long they took, and leaves nothing behind."""

from dataclasses import replace

import pytest

from fakes import ECHO_BASE
from pairs import pairs_of
from tuningfork.artifacts.local import LocalArtifactStore
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.tuning_job import JobId, Snapshot
from tuningfork.execution.base import ProbeAssignment, StepTimes, TrainingAssignment
from tuningfork.execution.local.messages import Admit, Probe, Probed
from tuningfork.execution.local.probing import ENOUGH_SECONDS, LONG_BATCH_SECONDS, MOST_SECONDS, MOST_STEPS, Probes
from tuningfork.execution.local.trainer_process import Trainer
from tuningfork.training.batches import DataOrder
from tuningfork.training.engine import StepReport, TrainingEngine

PAIRS = tuple(Conversation.pair(f"{'word ' * (number % 7)}{number}", str(number)) for number in range(40))
USED = Hyperparameters(epoch_count=3, batch_size=8, learning_rate=0.001)


def tokens_of(example):
    return sum(len(text.split()) for text in pairs_of([example])[0]) + 4


class ToyEngine:
    """Takes so many seconds for a step and for each token, in passes of one example, by a clock that only it moves."""

    def __init__(self, *, seconds_a_step=0.05, seconds_a_token=0.01, first_takes=1.0):
        self.seconds = 0.0
        self.jobs = {}
        self.admitted = []
        self.fails = False
        self._cost = seconds_a_step, seconds_a_token
        self._first_takes = first_takes

    def clock(self):
        return self.seconds

    def seconds_of(self, tokens):
        a_step, a_token = self._cost
        return a_step + a_token * tokens

    def admit(self, job):
        assert not self.jobs
        self.admitted.append(job)
        used = job.hyperparameters
        order = DataOrder(
            example_count=len(job.examples),
            epoch_count=used.epoch_count,
            batch_size=used.batch_size,
            seed=job.seed,
        )
        self.jobs[job.id] = job, order, [0]
        self._extra = self._first_takes

    def advance(self):
        if self.fails:
            self.jobs.clear()
            raise ValueError("the loss is not finite")
        [(job, order, taken)] = self.jobs.values()
        tokens = sum(tokens_of(job.examples[index]) for index in order.batch(taken[0] + 1))
        self.seconds += self.seconds_of(tokens) + self._extra
        self._extra = 0.0
        taken[0] += 1
        snapshot = Snapshot(step=taken[0], epoch=0, mean_loss=1.0, compute_time=None)
        return [StepReport(job_id=job.id, snapshot=snapshot, tokens=tokens, done=False)]

    def release(self, job_id):
        del self.jobs[job_id]


def probe(batch_size=8, examples=PAIRS, **changes):
    used = replace(USED, batch_size=batch_size)
    shape = AdapterShape(rank=4, alpha=8.0)
    given = {"base": ECHO_BASE, "examples": examples, "hyperparameters": used, "adapter": shape}
    return ProbeAssignment(**(given | changes))


def run(engine, assignment):
    probes = Probes(engine.clock)
    said = list(probes.begin(Probe("1", assignment), engine))
    for _ in range(1_000):
        said += probes.advance()
        if said:
            break
    assert probes.idle
    assert not engine.jobs
    [answer] = said
    assert answer.request_id == "1"
    return answer.times


@pytest.mark.parametrize("seconds_a_token", [0.0001, 0.01, 0.1])
@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_the_time_of_a_run_is_told_before_it_begins_within_thirty_percent(seconds_a_token, batch_size):
    engine = ToyEngine(seconds_a_token=seconds_a_token)
    times = run(engine, probe(batch_size))
    used = replace(USED, batch_size=batch_size)
    order = DataOrder(example_count=len(PAIRS), epoch_count=3, batch_size=batch_size, seed=5)
    steps = used.total_steps(len(PAIRS))
    really = sum(
        engine.seconds_of(sum(tokens_of(PAIRS[index]) for index in order.batch(step))) for step in range(1, steps + 1)
    )

    tokens_of_a_step = sum(map(tokens_of, PAIRS)) / len(PAIRS) * batch_size
    told = steps * tokens_of_a_step * times.seconds / times.tokens

    assert told == pytest.approx(really, rel=0.3)


def test_the_first_step_of_each_size_prepares_and_is_not_counted():
    fast = run(ToyEngine(first_takes=0.0), probe())
    slow = run(ToyEngine(first_takes=3.0), probe())

    assert (slow.steps, slow.tokens) == (fast.steps, fast.tokens)
    assert slow.seconds == pytest.approx(fast.seconds)


def test_a_probe_ends_after_a_few_steps_and_seconds():
    quick, long = ToyEngine(seconds_a_token=0.001), ToyEngine(seconds_a_step=2.5, seconds_a_token=0.0)

    assert run(quick, probe()).steps == MOST_STEPS
    assert run(long, probe(4)).steps == 2
    assert long.seconds < 4 * (ENOUGH_SECONDS + 2.5) + 2


def test_a_batch_that_takes_very_long_is_not_tried():
    engine = ToyEngine(seconds_a_step=LONG_BATCH_SECONDS, seconds_a_token=0.0, first_takes=0.0)

    times = run(engine, probe(64))

    assert [job.hyperparameters.batch_size for job in engine.admitted] == [1]
    # Its only step was long enough to be counted.
    assert (times.steps, times.seconds) == (1, LONG_BATCH_SECONDS)


def test_a_probe_of_slow_steps_ends_after_a_time():
    # The first step of a batch takes longest, is not counted, and is all that there is time for.
    slow = ToyEngine(seconds_a_step=ENOUGH_SECONDS * 0.9, seconds_a_token=0.0, first_takes=MOST_SECONDS)

    times = run(slow, probe(4))

    assert times == StepTimes(steps=1, tokens=times.tokens, seconds=MOST_SECONDS + ENOUGH_SECONDS * 0.9)
    assert [job.hyperparameters.batch_size for job in slow.admitted] == [1]
    assert slow.seconds < MOST_SECONDS + ENOUGH_SECONDS


def test_a_batch_for_which_no_time_is_left_is_told_by_steps_with_one_example():
    engine = ToyEngine(seconds_a_step=3.5, seconds_a_token=0.0, first_takes=0.0)
    engine.admit = lambda job, admit=engine.admit: (
        admit(job),
        setattr(engine, "seconds", engine.seconds + MOST_SECONDS * (job.hyperparameters.batch_size > 1)),
    )

    times = run(engine, probe(4))

    assert [job.hyperparameters.batch_size for job in engine.admitted] == [1, 4]
    assert (times.steps, times.seconds) == (2, 7.0)


def test_steps_that_cannot_be_made_are_no_measurement():
    failing = ToyEngine()
    failing.fails = True

    assert run(failing, probe()) == StepTimes()


def test_there_is_one_probe_at_a_time_and_it_ends_when_jobs_come():
    engine = ToyEngine()
    probes = Probes(engine.clock)
    assert list(probes.begin(Probe("1", probe()), engine)) == []
    list(probes.advance())
    assert list(probes.begin(Probe("2", probe()), engine)) == [Probed("2", None)]
    assert len(engine.jobs) == 1

    assert list(probes.give_up()) == [Probed("1", None)]
    assert probes.idle
    assert not engine.jobs


class TestATrainer:
    @pytest.fixture
    def trainer(self, tmp_path, tiny_llama, loaded_llama):
        trainer = Trainer(LocalArtifactStore(tmp_path))
        trainer._engines[tiny_llama] = TrainingEngine(loaded_llama, clock=lambda: None)
        return trainer

    def test_it_measures_real_steps_and_forgets_them(self, trainer, tiny_llama):
        probed = Probe("1", probe(2, PAIRS[:4], base=tiny_llama))

        said = list(trainer.obey(probed))
        while not trainer.idle:
            said += trainer.advance()

        [answer] = said
        assert answer.request_id == "1"
        assert answer.times.steps >= 1
        assert answer.times.tokens > answer.times.steps
        assert answer.times.seconds > 0
        assert not trainer._engines[tiny_llama]._jobs

    def test_jobs_go_first(self, trainer, tiny_llama, tmp_path):
        store = LocalArtifactStore(tmp_path)
        with store.writing(ArtifactRef("datasets/abc.jsonl")) as path:
            path.write_text('{"text_input": "1", "output": "2"}\n' * 4)
        job = TrainingAssignment(
            job_id=JobId("abc"),
            base=tiny_llama,
            dataset=ArtifactRef("datasets/abc.jsonl"),
            work=ArtifactRef("work/abc"),
            hyperparameters=USED,
            adapter=AdapterShape(rank=4, alpha=8.0),
            seed=7,
            savepoint_every=0,
        )
        wanted = probe(2, PAIRS[:4], base=tiny_llama)
        list(trainer.obey(Probe("1", wanted)))
        list(trainer.advance())

        said = list(trainer.obey(Admit(job)))
        assert said[0] == Probed("1", None)
        assert list(trainer.obey(Probe("2", wanted))) == [Probed("2", None)]
        while not trainer.idle:
            said += trainer.advance()
        assert not any(isinstance(each, Probed) for each in said[1:])


def test_step_times_add_up():
    assert StepTimes().with_step(10, 0.5).with_step(20, 1.0) == StepTimes(steps=2, tokens=30, seconds=1.5)


def test_no_base_is_loaded_or_given_up_for_a_probe(tmp_path, tiny_llama, loaded_llama):
    trainer = Trainer(LocalArtifactStore(tmp_path))
    trainer._engines[tiny_llama] = TrainingEngine(loaded_llama, clock=lambda: None)
    other = replace(tiny_llama, location=str(tmp_path / "elsewhere"))

    said = list(trainer.obey(Probe("1", probe(1, PAIRS[:2], base=other))))

    assert said == [Probed("1", None)]
    assert trainer.idle
    assert list(trainer._engines) == [tiny_llama]
