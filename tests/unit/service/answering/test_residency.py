"""Which tuned models lie in memory: kept as the operator says, and told to those who may read them."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from fakes import ECHO_BASE
from patience import wait_until
from tuningfork.domain.errors import NotFound, PermissionDenied
from tuningfork.execution.base import WorkerDied
from tuningfork.service.answering.residency import Residence, ResidentAdapters
from tuningfork.wire.gemini.names import model_ref
from workshop import ADA, BOB, ask, number_request, residency_of

ECHO = "models/echo-001"


@pytest.fixture
def create(workshop):
    """Make an ACTIVE model of this id; its adapter's reference."""

    def make(name):
        tuned = workshop.tuning.create(ADA, number_request(tuned_model_id=name))
        workshop.advance()
        return workshop.artifacts.adapter(tuned.job.id)

    return make


def test_a_pinned_model_is_kept_from_when_it_is_active_until_it_is_deleted(workshop, create):
    residency = residency_of(workshop, "one", "two")
    residency.refresh()
    assert workshop.executor.kept == []
    first = create("one")
    residency.refresh()
    second = create("two")
    create("three")
    residency.refresh()
    workshop.tuning.delete(ADA, "one")
    residency.refresh()
    workshop.tuning.delete(ADA, "two")
    residency.refresh()
    assert workshop.executor.kept == [
        (ECHO, {first}),
        (ECHO, {first, second}),
        (ECHO, {second}),
        (ECHO, frozenset()),
    ]


def test_a_model_that_is_made_again_under_a_pinned_name_is_kept_in_its_place(workshop, create):
    residency = residency_of(workshop, "one")
    create("one")
    residency.refresh()
    workshop.tuning.delete(ADA, "one")
    again = create("one")
    residency.refresh()
    assert workshop.executor.kept[-1] == (ECHO, {again})


def test_a_model_that_is_not_made_yet_is_not_kept(workshop):
    workshop.tuning.create(ADA, number_request(tuned_model_id="one"))
    residency = residency_of(workshop, "one")
    residency.refresh()
    assert workshop.executor.kept == []


def test_while_nothing_changes_nothing_is_said(workshop, create):
    residency = residency_of(workshop, "one")
    create("one")
    for _ in range(3):
        residency.refresh()
    assert len(workshop.executor.kept) == 1


def test_a_generator_that_has_just_died_is_told_again(workshop, create):
    residency = residency_of(workshop, "one")
    adapter = create("one")
    workshop.executor.break_keeping = [WorkerDied("gone")]
    residency.refresh()
    assert workshop.executor.kept == []
    residency.refresh()
    assert workshop.executor.kept == [(ECHO, {adapter})]


def test_the_dispatcher_sees_to_it(workshop, create):
    adapter = create("one")
    residency = residency_of(workshop, "one")
    workshop.dispatcher._after_each_round = residency.refresh
    workshop.dispatcher.start()
    workshop.dispatcher.wake()
    wait_until(lambda: workshop.executor.kept, what="a round of the dispatcher has ended")
    workshop.dispatcher.close()
    assert workshop.executor.kept == [(ECHO, {adapter})]


def test_whoever_may_read_a_model_learns_whether_it_lies_in_memory(workshop, create):
    create("one")
    create("two")
    residency = residency_of(workshop, "two")

    async def answer():
        answered = await workshop.generation.generate(ADA, model_ref("tunedModels/one"), ask("1"))
        return [chunk async for chunk in answered.chunks]

    assert residency.of(ADA, "one") == Residence(model_id="one", size_bytes=None, pinned=False, shape=ECHO_BASE.adapter)
    asyncio.run(answer())
    assert residency.of(ADA, "one") == Residence(
        model_id="one", size_bytes=1_000, pinned=False, shape=ECHO_BASE.adapter
    )
    residency.refresh()
    assert residency.of(ADA, "two") == Residence(model_id="two", size_bytes=1_000, pinned=True, shape=ECHO_BASE.adapter)
    with pytest.raises(PermissionDenied):
        residency.of(BOB, "one")
    with pytest.raises(NotFound):
        residency.of(ADA, "three")


def test_what_lies_in_memory_is_counted_without_names(workshop, create):
    create("one")
    residency_of(workshop, "one").refresh()
    registry = CollectorRegistry()
    ResidentAdapters(workshop.executor, registry)
    text = generate_latest(registry).decode()
    assert "tuningfork_generator_resident_adapters 1.0\n" in text
    assert "tuningfork_generator_resident_adapter_bytes 1000.0\n" in text
    assert "one" not in text


def test_the_adapter_of_a_deleted_model_leaves_memory_whether_or_not_it_was_pinned(workshop, create):
    residency = residency_of(workshop, "pinned")
    adapters = [create("pinned"), create("asked"), create("stays")]
    residency.refresh()
    for name in ("asked", "stays"):
        asyncio.run(workshop.generation.generate(ADA, model_ref(f"tunedModels/{name}"), ask("8")))
    residency.refresh()
    before = list(workshop.executor.forgotten)
    workshop.tuning.delete(ADA, "pinned")
    workshop.tuning.delete(ADA, "asked")
    residency.refresh()

    assert before == []
    assert set(workshop.executor.forgotten) == set(adapters[:2])
    assert adapters[2] in workshop.executor.resident_adapters()
