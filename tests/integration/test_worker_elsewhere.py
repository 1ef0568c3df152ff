"""A job's whole life with workers that share no directory with the server: only references and objects cross."""

import asyncio
import dataclasses
import random
import types
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

import mortality
from job_lives import follow
from loopback_objects import ObjectServer
from mortality import Deaths
from patience import paths_below, wait_until
from tiny_models import Architecture, tiny_base_model
from tuningfork.domain.base_model import Catalog
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.hyperparameters import RequestedHyperparameters
from tuningfork.domain.references import TunedRef
from tuningfork.domain.tuning_job import JobState
from tuningfork.execution.base import Resumed
from tuningfork.execution.local import environment, messages
from tuningfork.execution.local.engines import LocalEngines, WorkerThreads
from tuningfork.execution.local.generators import LocalGenerators
from tuningfork.execution.local.raters import LocalRaters
from tuningfork.execution.local.trainers import LocalTrainers
from tuningfork.service.answering.generation import Generation
from tuningfork.service.metrics import Metrics
from tuningfork.service.tuning.running import Running
from tuningfork.service.tuning.tuning import Tuning
from tuningfork.store import evaluations
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database
from workshop import ADA, SERVER, ask, number_request

BASE = "models/tiny"
LENGTH = RequestedHyperparameters(epoch_count=40, batch_size=4, learning_rate=0.001)
"""150 steps."""


@pytest.fixture
def base(tiny_directories):
    return dataclasses.replace(tiny_base_model(Architecture.LLAMA, tiny_directories["llama"]), name=BASE)


@pytest.fixture
def artifacts(tmp_path):
    return Artifacts(tmp_path / "server")


@pytest.fixture
def objects(tmp_path, artifacts):
    server = ObjectServer(tmp_path / "server")
    yield server
    server.close()


@pytest.fixture
def deaths(tmp_path):
    return Deaths(tmp_path / "order")


@pytest.fixture
def engines(tmp_path, objects, deaths):
    """Workers that are told a port and a directory for their cache, and nothing of where the server's files are."""
    remote = {"REMOTE_PORT": str(objects.port), "REMOTE_CACHE": str(tmp_path / "worker")}
    variables = environment.of_worker(1, "warning") | deaths.variables | remote
    engines = LocalEngines(
        trainers=LocalTrainers(variables, module=mortality.MODULE),
        generators=LocalGenerators(variables, module="remote_generator"),
        raters=LocalRaters(variables),
    )
    yield engines
    engines.close()


@dataclasses.dataclass(frozen=True)
class Service:
    """The use cases over these workers."""

    database: Database
    artifacts: Artifacts
    tuning: Tuning
    running: Running
    generation: Generation
    engines: LocalEngines
    deaths: Deaths

    def job(self, tuned):
        return self.tuning.get(ADA, tuned.model.id).job

    def train(self):
        """Take a job up and follow it to its end; its first event."""
        return follow(self.running, self.engines.trainers)

    def train_until_killed(self):
        """Take a job up until its trainer is killed, some steps after its first savepoint; its first event."""
        self.deaths.order(after_step=7, saved=True)
        return follow(self.running, self.engines.trainers)

    def evaluations(self, tuned):
        with self.database.read() as connection:
            found = evaluations.evaluations_of(connection, tuned.job.id)
        return [(each.step, each.mean_loss, each.targets, each.right_targets) for each in found]

    def answer(self, ref, text):
        async def ask_for_it():
            answered = await self.generation.generate(ADA, ref, ask(text, temperature=0.0, max_output_tokens=8))
            return "".join([chunk.text async for chunk in answered.chunks])

        return asyncio.run(ask_for_it())


@pytest.fixture
def service(database, artifacts, clock, engines, base, deaths):
    catalog, metrics = Catalog((base,)), Metrics(CollectorRegistry(), database)
    return Service(
        database=database,
        artifacts=artifacts,
        tuning=Tuning(database, artifacts, catalog, clock, random.Random(0).getrandbits, metrics),
        running=Running(database, artifacts, catalog, clock, metrics, server=SERVER, savepoint_every=2),
        generation=Generation(database, artifacts, catalog, engines.generators, metrics),
        engines=engines,
        deaths=deaths,
    )


@pytest.mark.slow
def test_a_job_lives_its_whole_life_with_workers_elsewhere(service, objects, artifacts, tmp_path):
    tuned = service.tuning.create(ADA, number_request(base_model=BASE, hyperparameters=LENGTH))

    assert service.train_until_killed() == Resumed(step=0)
    assert service.job(tuned).state is JobState.QUEUED
    assert service.train().step >= 2
    assert service.job(tuned).state is JobState.SUCCEEDED
    assert [snapshot.step for snapshot in service.tuning.get(ADA, tuned.model.id).job.snapshots] == list(range(1, 151))

    assert isinstance(service.answer(TunedRef(tuned.model.id), "seven"), str)
    fetched = [key for method, key in objects.calls if method == "get"]
    assert f"adapters/{tuned.job.id}/adapter_model.safetensors" in fetched

    goes_on = number_request(base_model="", hyperparameters=LENGTH, source=TunedRef(tuned.model.id))
    further = service.tuning.create(ADA, goes_on)
    assert service.train() == Resumed(step=0)
    assert service.job(further).state is JobState.SUCCEEDED
    assert service.job(further).snapshots[0].mean_loss < service.job(tuned).snapshots[0].mean_loss

    assert all(artifacts.store.has(artifacts.adapter(each.job.id)) for each in (tuned, further))
    # Savepoints are written behind the training.
    wait_until(
        lambda: not [path for path in paths_below(tmp_path / "worker") if path.suffix == ".aside"],
        what="the workers' caches hold nothing that was broken off",
    )


@pytest.mark.slow
def test_a_validation_set_reaches_a_worker_elsewhere_and_a_resumed_job_has_the_same_evaluations(service, objects):
    held_out = (Conversation.pair("11", "12"), Conversation.pair("seventy", "seventy one"))
    request = number_request(base_model=BASE, hyperparameters=LENGTH, validation=held_out, evaluate_every=40)
    undisturbed = service.tuning.create(ADA, request)
    assert service.train() == Resumed(step=0)
    disturbed = service.tuning.create(ADA, request)
    service.train_until_killed()
    assert service.job(disturbed).state is JobState.QUEUED
    assert service.train().step >= 2

    assert f"datasets/{undisturbed.job.id}.validation.jsonl" in [
        key for method, key in objects.calls if method == "get"
    ]
    assert [step for step, *_ in service.evaluations(undisturbed)] == [40, 80, 120, 150]
    assert service.evaluations(disturbed) == service.evaluations(undisturbed)
    losses = [[each.mean_loss for each in service.job(tuned).snapshots] for tuned in (undisturbed, disturbed)]
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_a_worker_elsewhere_makes_the_adapter_that_one_here_makes(service, engines, artifacts, tmp_path):
    service.tuning.create(ADA, number_request(base_model=BASE))
    assignment = service.running.claim()
    here = LocalEngines.build(threads=WorkerThreads(trainer=1, generator=1), artifacts=tmp_path / "server")

    def weights(trainers):
        *_, finished = trainers.train(assignment)
        with artifacts.store.reading(finished.adapter) as directory:
            found = (directory / "adapter_model.safetensors").read_bytes()
        artifacts.store.delete(assignment.work)
        return found

    try:
        assert weights(engines.trainers) == weights(here.trainers)
    finally:
        here.close()


def test_no_message_and_no_assignment_has_a_path():
    seen: set[object] = set()
    roots = [
        messages.TrainerCommand,
        messages.JobEvent,
        messages.LoadingBase,
        messages.GeneratorCommand,
        messages.RaterCommand,
    ]
    roots += [messages.GeneratorReport, messages.RaterReport, messages.Reports, messages.Moved]
    for root in roots:
        seen |= set(_types_in(root, set()))
    assert messages.Admit in seen
    assert not [each for each in seen if isinstance(each, type) and issubclass(each, Path)]


def _types_in(hint: object, known: set[object]) -> Iterator[object]:
    """All types that a value of this type may be made of."""
    if hint in known:
        return
    known.add(hint)
    yield hint
    for argument in typing.get_args(hint):
        if not isinstance(argument, types.EllipsisType | str | int):
            yield from _types_in(argument, known)
    if dataclasses.is_dataclass(hint):
        for own in typing.get_type_hints(hint).values():
            yield from _types_in(own, known)
