"""Six jobs share a real trainer, and one of them kills it: five succeed as if they had been alone, one fails."""

import os
import random
import signal
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from fakes import InMemoryExecutor
from patience import PATIENCE_SECONDS, wait_until
from tuningfork.dispatcher import Dispatcher
from tuningfork.domain.base_model import Catalog
from tuningfork.domain.hyperparameters import RequestedHyperparameters
from tuningfork.domain.tuning_job import JobState
from tuningfork.execution.base import Finished, Stepped
from tuningfork.execution.local import environment
from tuningfork.execution.local.trainers import LocalTrainers
from tuningfork.service.metrics import Metrics
from tuningfork.service.tuning.running import Running
from tuningfork.service.tuning.tuning import Tuning
from workshop import ADA, SERVER, number_request

pytestmark = [pytest.mark.slow]

TOYS = Path(__file__).parents[1] / "toy_workers"
DEADLY_BATCH_SIZE = 3


def request_of(base, rate, *, batch_size=4):
    return number_request(
        base_model=base.name,
        hyperparameters=RequestedHyperparameters(epoch_count=2, batch_size=batch_size, learning_rate=rate),
    )


def until_ended(tuning, tuned):
    # Several trainers start one after the other meanwhile, each of which imports torch.
    ended = lambda: tuning.get(ADA, tuned.model.id).job.state.is_final  # noqa: E731
    wait_until(ended, what="the job has ended", seconds=4 * PATIENCE_SECONDS)
    return tuning.get(ADA, tuned.model.id).job


@pytest.mark.parametrize(
    ("number", "said"), [(signal.SIGKILL, "(signal 9)"), (0, "(exit code 1, the system gave it no more memory")]
)
def test_of_six_jobs_five_have_the_curves_that_they_have_alone(database, artifacts, clock, tiny_llama, number, said):
    catalog, metrics = Catalog((tiny_llama,)), Metrics(CollectorRegistry(), database)
    variables = environment.of_worker(1, "warning") | environment.of_artifacts(artifacts.store.root)
    paths = os.pathsep.join([str(TOYS), os.environ.get("PYTHONPATH", "")])
    toys = {"PYTHONPATH": paths, "DEADLY_BATCH_SIZE": str(DEADLY_BATCH_SIZE), "DEADLY_SIGNAL": str(int(number))}
    trainers = LocalTrainers(variables | toys, "deadly_trainer")
    tuning = Tuning(database, artifacts, catalog, clock, random.Random(0).getrandbits, metrics)
    running = Running(database, artifacts, catalog, clock, metrics, server=SERVER, savepoint_every=2)
    generators = InMemoryExecutor(clock)
    dispatcher = Dispatcher(
        running, trainers, generators, metrics, concurrency=8, poll_seconds=0.05, pause_seconds=0.05
    )
    rates = [0.001 * place for place in range(1, 6)]
    try:
        alone = {}
        for rate in rates:
            tuned = tuning.create(ADA, request_of(tiny_llama, rate))
            events = list(trainers.train(running.claim()))
            assert isinstance(events[-1], Finished)
            alone[rate] = [event.snapshot.mean_loss for event in events if isinstance(event, Stepped)]
            tuning.delete(ADA, tuned.model.id)
        good = {rate: tuning.create(ADA, request_of(tiny_llama, rate)) for rate in rates}
        bad = tuning.create(ADA, request_of(tiny_llama, 0.001, batch_size=DEADLY_BATCH_SIZE))
        dispatcher.start()
        failed = until_ended(tuning, bad)
        done = {rate: until_ended(tuning, tuned) for rate, tuned in good.items()}
    finally:
        dispatcher.close()
        trainers.close()

    assert {job.state for job in done.values()} == {JobState.SUCCEEDED}
    curves = {rate: [taken.mean_loss for taken in tuning.get(ADA, good[rate].model.id).job.snapshots] for rate in rates}
    assert curves == alone
    assert failed.state is JobState.FAILED
    assert "3 times in a row while it was training this job alone" in failed.error.message
    assert said in failed.error.message
