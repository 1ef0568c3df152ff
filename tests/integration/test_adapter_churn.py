"""More tuned models than memory has room for, asked by many at once while some come and go: each answers as itself."""

import asyncio
import os
import random
import signal
from contextlib import aclosing

import pytest
import torch

from patience import wait_until
from tiny_models import Architecture, tiny_base_model
from tuningfork.artifacts.local import LocalArtifactStore
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import NotFound
from tuningfork.domain.generation import Sampling
from tuningfork.execution.base import AdapterLimits, GenerationAssignment
from tuningfork.execution.local.engines import LocalEngines, WorkerThreads
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.adapters.weights import AdapterWeights
from tuningfork.modeling.loading import load_base

pytestmark = pytest.mark.slow

MODELS, ROOM, ASKERS, QUESTIONS = 12, 3, 8, 12


@pytest.fixture(scope="module", name="base")
def _base(tiny_directories):
    return tiny_base_model(Architecture.LLAMA, tiny_directories["llama"])


@pytest.fixture(name="adapters")
def _adapters(base, tmp_path):
    """Adapters that change the base a great deal, of several ranks, each in its own direction."""
    slots = load_base(base).slots
    store, refs = LocalArtifactStore(tmp_path), []
    for number in range(MODELS):
        weights = slots.fresh(AdapterShape(rank=2 + number % 3, alpha=8.0), seed=number)
        torch.manual_seed(number)
        tensors = {
            name: torch.randn_like(each) / 4 if "lora_B" in name else each for name, each in weights.tensors.items()
        }
        refs.append(ArtifactRef(f"adapter-{number}"))
        with store.writing(refs[-1]) as directory:
            adapter_format.save(directory, AdapterWeights(weights.shape, tensors), base.location)
    return refs


@pytest.fixture(name="small")
def _small(tmp_path):
    """Engines with room for few adapters."""
    engines = LocalEngines.build(
        threads=WorkerThreads(trainer=1, generator=1),
        artifacts=tmp_path,
        adapter_limits=AdapterLimits(adapters=ROOM, bytes=10**9),
    )
    yield engines
    engines.close()


def question(base, adapter):
    sampling = Sampling(temperature=0.0, top_p=1.0, top_k=None, max_output_tokens=8)
    prompt = Conversation(turns=(Turn.said(Speaker.USER, "one two"),))
    return GenerationAssignment(base=base, adapter=adapter, prompt=prompt, sampling=sampling)


async def answer(engines, assignment):
    async with aclosing(engines.generators.generate(assignment)) as chunks:
        return "".join([chunk.text async for chunk in chunks])


def test_every_model_answers_as_itself_while_others_are_loaded_made_and_deleted(small, base, adapters, tmp_path):
    store = LocalArtifactStore(tmp_path)
    dice = random.Random(4)
    living, doomed = adapters[:-2], adapters[-2:]

    async def story():
        known = {adapter: await answer(small, question(base, adapter)) for adapter in (None, *adapters)}
        wrong, refused = [], 0

        async def asker(own):
            nonlocal refused
            for _ in range(QUESTIONS):
                adapter = own.choice([None, *adapters])
                try:
                    said = await answer(small, question(base, adapter))
                except NotFound:
                    # Only what is gone, and only once it has left the memory too.
                    assert adapter in doomed
                    refused += 1
                    continue
                if said != known[adapter]:
                    wrong.append((adapter, said, known[adapter]))

        async def deletes_and_makes():
            for number, adapter in enumerate(doomed):
                await asyncio.sleep(0.05)
                store.delete(adapter)
                again = ArtifactRef(f"again-{number}")
                store.share(living[number], again)
                assert await answer(small, question(base, again)) == known[living[number]]

        await asyncio.gather(deletes_and_makes(), *(asker(random.Random(dice.random())) for _ in range(ASKERS)))
        assert wrong == []
        return known

    known = asyncio.run(story())
    assert len(set(known.values())) > MODELS // 2
    resident = small.generators.resident_adapters()
    assert 1 <= len(resident) <= ROOM
    assert all(size > 0 for size in resident.values())


def test_what_is_kept_stays_in_memory_through_it_all_and_after_a_death(small, base, adapters):
    kept, others = adapters[0], adapters[1:6]

    async def ask_all():
        return [await answer(small, question(base, adapter)) for adapter in others]

    small.generators.keep(base, [kept])
    before = asyncio.run(ask_all())
    assert kept in small.generators.resident_adapters()
    os.kill(small.worker_pids["generator"], signal.SIGKILL)
    wait_until(lambda: small.generators.resident_adapters() == {})
    assert asyncio.run(ask_all()) == before
    assert kept in small.generators.resident_adapters()
