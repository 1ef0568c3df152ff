"""Adapters are read once, stay while they are used, and the least recently used one leaves first."""

from pathlib import Path

import pytest
import torch

from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.errors import FailedPrecondition, InvalidArgument
from tuningfork.inference.adapter_pool import AdapterPool
from tuningfork.modeling import adapter_format
from tuningfork.modeling.loading import load_base


@pytest.fixture(scope="module", name="base")
def _base(tiny_directories):
    from tiny_models import Architecture, tiny_base_model  # noqa: PLC0415

    return load_base(tiny_base_model(Architecture.LLAMA, tiny_directories["llama"]), dtype=torch.float32)


@pytest.fixture(name="directories")
def _directories(base, tmp_path) -> list[Path]:
    paths = [tmp_path / f"adapter {number}" for number in range(4)]
    for number, path in enumerate(paths):
        adapter_format.save(path, base.slots.fresh(AdapterShape(rank=2 + number), seed=number), base.location)
    return paths


@pytest.fixture(name="pool")
def _pool(base):
    pool = AdapterPool(base.slots, capacity=2)
    yield pool
    for resident in pool._residents.values():
        base.slots.unload(resident.slot)


def test_an_adapter_is_loaded_once(pool, directories):
    first = pool.slot_for(directories[0])
    assert pool.slot_for(directories[0]) == first
    assert pool.slot_for(directories[1]) != first


def test_an_adapter_that_nobody_uses_stays_while_there_is_room(pool, directories, base):
    slot = pool.slot_for(directories[0])
    pool.unpin(directories[0])
    before = base.slots._residents[slot]
    assert pool.slot_for(directories[0]) == slot
    assert base.slots._residents[slot] is before


def test_the_least_recently_used_leaves_first(pool, directories):
    for directory in (directories[0], directories[1], directories[0]):
        pool.slot_for(directory)
        pool.unpin(directory)
    pool.slot_for(directories[2])
    assert set(pool._residents) == {directories[0], directories[2]}


def test_a_pinned_adapter_stays_and_the_pool_grows_rather_than_refuse(pool, directories, base):
    slots = [pool.slot_for(directory) for directory in directories[:3]]
    assert len(set(slots)) == 3
    assert len(base.slots._residents) == 3
    pool.unpin(directories[1])
    assert set(pool._residents) == {directories[0], directories[2]}
    assert len(base.slots._residents) == 2


def test_an_adapter_stays_until_it_is_unpinned_as_often_as_it_was_asked_for(pool, directories):
    pool.slot_for(directories[0])
    pool.slot_for(directories[0])
    pool.unpin(directories[0])
    for directory in directories[1:]:
        pool.slot_for(directory)
    assert directories[0] in pool._residents


def test_a_directory_without_an_adapter_leaves_the_pool_as_it_was(pool, directories, tmp_path):
    pool.slot_for(directories[0])
    with pytest.raises(InvalidArgument):
        pool.slot_for(tmp_path / "nothing")
    assert set(pool._residents) == {directories[0]}


def test_an_adapter_whose_training_diverged_is_refused(pool, base, tmp_path):
    # Beside others it would spoil their answers too: 0 times infinity is not 0.
    weights = base.slots.fresh(AdapterShape(rank=2), seed=0)
    list(weights.tensors.values())[5][1, 1] = torch.inf
    adapter_format.save(tmp_path / "diverged", weights, base.location)
    with pytest.raises(FailedPrecondition, match="lower learning rate"):
        pool.slot_for(tmp_path / "diverged")
    assert not base.slots._residents


def test_a_pool_for_no_adapter_is_refused(base):
    with pytest.raises(ValueError, match="capacity of 0"):
        AdapterPool(base.slots, capacity=0)
