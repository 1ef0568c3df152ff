"""Jobs that ask for checkpoints or for DPO, from the request to the answer, with real workers."""

import asyncio
import random

import pytest
from prometheus_client import CollectorRegistry

from job_lives import follow
from tuningfork.domain.base_model import Catalog
from tuningfork.domain.checkpoint_schedule import CheckpointSchedule
from tuningfork.domain.conversation import Conversation, Preference, Speaker, Turn
from tuningfork.domain.hyperparameters import RequestedHyperparameters
from tuningfork.domain.objective import DirectPreferenceOptimization
from tuningfork.domain.references import CheckpointRef
from tuningfork.domain.tuned_model import ModelState
from tuningfork.execution.local.engines import LocalEngines, WorkerThreads
from tuningfork.service.answering.generation import Generation
from tuningfork.service.metrics import Metrics
from tuningfork.service.tuning.running import Running
from tuningfork.service.tuning.tuning import Tuning
from tuningfork.store import checkpoints
from workshop import ADA, SERVER, ask, number_request

pytestmark = [pytest.mark.slow]


def preference(asked, chosen, rejected):
    prompt = Conversation(turns=(Turn.said(Speaker.USER, asked),))
    return Preference(prompt=prompt, chosen=(chosen,), rejected=(rejected,))


def test_a_dpo_job_leaves_checkpoints_that_can_be_called(database, artifacts, clock, tiny_llama):
    engines = LocalEngines.build(threads=WorkerThreads(trainer=1, generator=1), artifacts=artifacts.store.root)
    catalog, metrics = Catalog((tiny_llama,)), Metrics(CollectorRegistry(), database)
    tuning = Tuning(database, artifacts, catalog, clock, random.Random(0).getrandbits, metrics)
    running = Running(database, artifacts, catalog, clock, metrics, server=SERVER, savepoint_every=3)
    generation = Generation(database, artifacts, catalog, engines.generators, metrics)
    request = number_request(
        base_model=tiny_llama.name,
        examples=(preference("1", "2", "9"), preference("3", "4", "9")),
        hyperparameters=RequestedHyperparameters(
            epoch_count=4, batch_size=1, learning_rate=0.01, objective=DirectPreferenceOptimization()
        ),
        checkpoints=CheckpointSchedule(steps_every=3),
    )

    async def answer(number):
        ref = CheckpointRef(tuned.model.id, number)
        answered = await generation.generate(ADA, ref, ask("1", temperature=0.0, max_output_tokens=4))
        return "".join([chunk.text async for chunk in answered.chunks])

    async def answers():
        return [await answer(number) for number in (1, 2, 3)]

    try:
        tuned = tuning.create(ADA, request)
        follow(running, engines.trainers)
        done = tuning.get(ADA, tuned.model.id)
        said = asyncio.run(answers())
    finally:
        engines.close()

    with database.read() as connection:
        kept = checkpoints.checkpoints_of(connection, tuned.job.id)
    assert (done.model.state, done.model.default_checkpoint) == (ModelState.ACTIVE, 3)
    assert [(each.number, each.step, each.epoch) for each in kept] == [(1, 3, 1), (2, 6, 3), (3, 8, 4)]
    # The objective's own loss: log 2 before the first update.
    assert done.job.snapshots[0].mean_loss == pytest.approx(0.6931, abs=1e-3)
    assert all(isinstance(text, str) for text in said)
    weights = {(artifacts.store.root / each.artifact / "adapter_model.safetensors").read_bytes() for each in kept}
    assert len(weights) == 3
