"""More tuned models than memory has room for, asked by many at once while some come and go: each answers as itself."""

import asyncio
import random
import shutil
from contextlib import aclosing

import pytest
import torch

from tiny_models import Architecture, tiny_base_model
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.errors import NotFound
from tuningfork.domain.generation import Prompt, Sampling, Speaker, Turn
from tuningfork.execution.base import AdapterRoom, GenerationAssignment
from tuningfork.execution.local import LocalExecutor, WorkerThreads
from tuningfork.modeling import adapter_format
from tuningfork.modeling.loading import load_base
from tuningfork.modeling.lora import AdapterWeights

pytestmark = pytest.mark.slow

MODELS, ROOM, ASKERS, QUESTIONS = 12, 3, 8, 12


@pytest.fixture(scope="module", name="base")
def _base(tiny_directories):
    return tiny_base_model(Architecture.LLAMA, tiny_directories["llama"])


@pytest.fixture(name="adapters")
def _adapters(base, tmp_path):
    """Adapters that change the base a great deal, of several ranks, each in its own direction."""
    slots = load_base(base).slots
    directories = []
    for number in range(MODELS):
        weights = slots.fresh(AdapterShape(rank=2 + number % 3, alpha=8.0), seed=number)
        torch.manual_seed(number)
        tensors = {
            name: torch.randn_like(each) / 4 if "lora_B" in name else each for name, each in weights.tensors.items()
        }
        directories.append(tmp_path / f"adapter-{number}")
        adapter_format.save(directories[-1], AdapterWeights(weights.shape, tensors), base.location)
    return directories


@pytest.fixture(name="small")
def _small():
    """An executor with room for few."""
    executor = LocalExecutor(
        threads=WorkerThreads(trainer=1, generator=1), room=AdapterRoom(adapters=ROOM, bytes=10**9)
    )
    yield executor
    executor.close()


def question(base, adapter):
    sampling = Sampling(temperature=0.0, top_p=1.0, top_k=None, max_output_tokens=8)
    prompt = Prompt(turns=(Turn(Speaker.USER, "one two"),))
    return GenerationAssignment(base=base, adapter_directory=adapter, prompt=prompt, sampling=sampling)


async def answer(executor, assignment):
    async with aclosing(executor.generate(assignment)) as chunks:
        return "".join([chunk.text async for chunk in chunks])


def test_every_model_answers_as_itself_while_others_are_loaded_made_and_deleted(small, base, adapters):
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
                shutil.rmtree(adapter)
                again = adapter.with_name(f"again-{number}")
                shutil.copytree(living[number], again)
                assert await answer(small, question(base, again)) == known[living[number]]

        await asyncio.gather(deletes_and_makes(), *(asker(random.Random(dice.random())) for _ in range(ASKERS)))
        assert wrong == []
        return known

    known = asyncio.run(story())
    assert len(set(known.values())) > MODELS // 2
    resident = small.resident_adapters()
    assert 1 <= len(resident) <= ROOM
    assert all(size > 0 for size in resident.values())


def test_what_is_kept_stays_in_memory_through_it_all_and_after_a_death(small, base, adapters):
    kept, others = adapters[0], adapters[1:6]

    async def ask_all():
        return [await answer(small, question(base, adapter)) for adapter in others]

    small.keep(base, [kept])
    before = asyncio.run(ask_all())
    assert kept in small.resident_adapters()
    small._generator._child._process.kill()
    small._generator._child._listener.join(10)
    assert small.resident_adapters() == {}
    assert asyncio.run(ask_all()) == before
    assert kept in small.resident_adapters()
