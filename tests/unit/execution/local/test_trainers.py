"""A server asks its trainer for one probe at a time, starts no trainer for it, and blames no job for its end."""

import pytest

from fakes import ECHO_BASE
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import ProbeAssignment, StepTimes, TrainerDied, TrainingAssignment, WorkerDied
from tuningfork.execution.local.endings import Ending
from tuningfork.execution.local.messages import Admit, Probe, Probed
from tuningfork.execution.local.trainers import LocalTrainers

USED = Hyperparameters(epoch_count=1, batch_size=4, learning_rate=0.001)
SHAPE = AdapterShape(rank=4, alpha=8.0)
PROBE = ProbeAssignment(base=ECHO_BASE, examples=(Conversation.pair("1", "2"),), hyperparameters=USED, adapter=SHAPE)
JOB = TrainingAssignment(
    job_id=JobId("abc"),
    base=ECHO_BASE,
    dataset=ArtifactRef("datasets/abc.jsonl"),
    work=ArtifactRef("work/abc"),
    hyperparameters=USED,
    adapter=SHAPE,
    seed=7,
    savepoint_every=0,
)
TIMES = StepTimes(steps=4, tokens=80, seconds=2.0)
KILLED = Ending(exit_code=-9)


class Silent:
    """A trainer process that takes all that it is sent, and does nothing."""

    pid, alive = 1, True

    def __init__(self):
        self.sent = []

    def send(self, command, *, always=False):
        self.sent.append(command)
        return True

    def close(self):
        pass


@pytest.fixture
def child():
    return Silent()


@pytest.fixture
def trainers(child):
    trainers = LocalTrainers({})
    trainers._child = child
    yield trainers
    trainers.close()


def began(trainers):
    """The events of a job that the trainer was given."""
    trainers._begin(JOB)
    return trainers._events[JOB.job_id]


def test_no_trainer_is_started_for_a_probe():
    trainers = LocalTrainers({})

    assert trainers.probe(PROBE).result(timeout=0) is None
    assert trainers._child is None


def test_there_is_one_probe_at_a_time(trainers, child):
    first, second = trainers.probe(PROBE), trainers.probe(PROBE)

    assert second.result(timeout=0) is None
    assert not first.done()
    [asked] = child.sent
    assert isinstance(asked, Probe)
    trainers._hear(Probed(asked.request_id, TIMES))
    assert first.result(timeout=0) == TIMES
    assert not trainers.probe(PROBE).done()


def test_there_is_no_probe_beside_a_job(trainers, child):
    began(trainers)

    assert trainers.probe(PROBE).result(timeout=0) is None
    assert [type(each) for each in child.sent] == [Admit]


def test_a_probe_cannot_be_cancelled(trainers, child):
    probe = trainers.probe(PROBE)

    assert not probe.cancel()
    trainers._hear(Probed(child.sent[0].request_id, TIMES))
    assert probe.result(timeout=0) == TIMES


def test_no_job_is_blamed_for_a_death_during_a_probe(trainers):
    probe = trainers.probe(PROBE)
    events = began(trainers)
    trainers._on_death(KILLED)

    assert isinstance(probe.exception(timeout=0), WorkerDied)
    died = events.get_nowait()
    assert isinstance(died, TrainerDied)
    assert died.death.jobs == {JOB.job_id}
    assert died.death.is_blameless


def test_a_job_that_came_after_a_probe_was_given_up_may_be_the_reason_of_a_death(trainers, child):
    trainers.probe(PROBE)
    events = began(trainers)
    trainers._hear(Probed(child.sent[0].request_id, None))
    trainers._on_death(KILLED)

    assert not events.get_nowait().death.is_blameless


@pytest.mark.parametrize("probing", [True, False])
def test_deaths_during_probes_do_not_make_the_trainer_unready(trainers, probing):
    for _ in range(3):
        trainers._child = Silent()
        if probing:
            trainers.probe(PROBE)
        trainers._on_death(KILLED)

    assert (trainers.refusal() is None) is probing
