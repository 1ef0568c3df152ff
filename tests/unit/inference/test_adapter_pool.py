"""Adapters are read once, stay while they are used, and the least recently used one leaves first."""

from pathlib import Path

import pytest
import torch

from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.errors import InvalidArgument
from tuningfork.inference.adapter_pool import AdapterPool, PoolLimits
from tuningfork.modeling.adapters import format as adapter_format
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


@pytest.fixture(name="told")
def _told() -> list[tuple[str, int | None]]:
    return []


@pytest.fixture(name="pool")
def _pool(base, told):
    pool = AdapterPool(
        base.slots,
        PoolLimits(adapters=2, bytes=10**9),
        read=adapter_format.load,
        on_change=lambda path, size: told.append((path.name, size)),
    )
    yield pool
    pool.empty()


def test_an_adapter_is_loaded_once(pool, directories):
    first = pool.slot_for(directories[0])
    assert pool.slot_for(directories[0]) == first
    assert pool.slot_for(directories[1]) != first


def test_an_adapter_that_nobody_uses_stays_while_there_is_room(pool, directories, base):
    slot = pool.slot_for(directories[0])
    pool.release(directories[0])
    before = base.slots._residents[slot]
    assert pool.slot_for(directories[0]) == slot
    assert base.slots._residents[slot] is before


def test_the_least_recently_used_leaves_first(pool, directories):
    for directory in (directories[0], directories[1], directories[0]):
        pool.slot_for(directory)
        pool.release(directory)
    pool.slot_for(directories[2])
    assert set(pool._residents) == {directories[0], directories[2]}


def test_an_adapter_in_use_stays_and_the_pool_grows_rather_than_refuse(pool, directories, base):
    slots = [pool.slot_for(directory) for directory in directories[:3]]
    assert len(set(slots)) == 3
    assert len(base.slots._residents) == 3
    pool.release(directories[1])
    assert set(pool._residents) == {directories[0], directories[2]}
    assert len(base.slots._residents) == 2


def test_an_adapter_stays_until_it_is_released_as_often_as_it_was_asked_for(pool, directories):
    pool.slot_for(directories[0])
    pool.slot_for(directories[0])
    pool.release(directories[0])
    for directory in directories[1:]:
        pool.slot_for(directory)
    assert directories[0] in pool._residents


def test_a_directory_without_an_adapter_leaves_the_pool_as_it_was(pool, directories, tmp_path):
    pool.slot_for(directories[0])
    with pytest.raises(InvalidArgument):
        pool.slot_for(tmp_path / "nothing")
    assert set(pool._residents) == {directories[0]}


def test_an_adapter_that_is_not_finite_is_refused(pool, base, tmp_path):
    # Beside others it would spoil their answers too: 0 times infinity is not 0.
    weights = base.slots.fresh(AdapterShape(rank=2), seed=0)
    list(weights.tensors.values())[5][1, 1] = torch.inf
    adapter_format.save(tmp_path / "damaged", weights, base.location)
    with pytest.raises(InvalidArgument, match=r"it is damaged: .* not finite"):
        pool.slot_for(tmp_path / "damaged")
    assert not base.slots._residents


@pytest.mark.parametrize("limits", [(0, 1), (1, 0)])
def test_a_pool_for_no_adapter_is_refused(limits):
    with pytest.raises(ValueError, match="at least one adapter"):
        PoolLimits(*limits)


def size_of(base, directory) -> int:
    return base.slots.flatten(adapter_format.load(directory)).numel() * base.slots.dtype.itemsize


def test_bytes_bound_what_is_kept_as_numbers_do(base, directories):
    sizes = [size_of(base, directory) for directory in directories]
    told = []
    limits = PoolLimits(adapters=10, bytes=sizes[1] + sizes[2])
    pool = AdapterPool(
        base.slots, limits, read=adapter_format.load, on_change=lambda path, size: told.append((path.name, size))
    )
    for directory in directories[:3]:
        pool.slot_for(directory)
        pool.release(directory)
    assert told == [
        ("adapter 0", sizes[0]),
        ("adapter 1", sizes[1]),
        ("adapter 0", None),
        ("adapter 2", sizes[2]),
    ]
    # The largest needs the room of both.
    pool.slot_for(directories[3])
    assert told[4:] == [("adapter 1", None), ("adapter 2", None), ("adapter 3", sizes[3])]
    pool.release(directories[3])
    pool.empty()
    assert told[-1] == ("adapter 3", None)
    assert not base.slots._residents


def test_what_is_to_be_kept_does_not_leave_for_others(pool, directories, told):
    pool.keep([directories[0]])
    for directory in (*directories, directories[1]):
        pool.slot_for(directory)
        pool.release(directory)
    assert set(pool._residents) == {directories[0], directories[1]}
    assert ("adapter 0", None) not in told


def test_what_need_not_be_kept_any_more_leaves_like_others(pool, directories):
    pool.keep(directories[:3])
    for directory in directories[:3]:
        pool.load(directory)
    assert len(pool._residents) == 3
    pool.keep([directories[2]])
    assert set(pool._residents) == {directories[1], directories[2]}


def test_an_adapter_can_be_loaded_before_anybody_asks(pool, directories, base, told):
    pool.load(directories[0])
    before = dict(told)
    slot = pool._residents[directories[0]].slot
    assert pool.slot_for(directories[0]) == slot
    assert dict(told) == before


def test_an_adapter_that_is_to_be_forgotten_leaves_at_once_even_if_it_is_pinned(pool, directories, told):
    pool.keep([directories[0]])
    pool.load(directories[0])
    pool.forget([directories[0], directories[1]])

    assert told[-1] == ("adapter 0", None)
    assert len(told) == 2


def test_an_adapter_in_use_is_forgotten_after_its_last_use(pool, directories, told):
    first = pool.slot_for(directories[0])
    assert pool.slot_for(directories[0]) == first
    pool.forget([directories[0]])
    pool.release(directories[0])
    still = told[-1]
    pool.release(directories[0])

    assert still[1] is not None
    assert told[-1] == ("adapter 0", None)


def test_whoever_keeps_something_of_an_adapter_is_told_when_it_leaves_its_slot(base, directories):
    gone = []
    pool = AdapterPool(base.slots, PoolLimits(adapters=1, bytes=10**9), adapter_format.load, on_unload=gone.append)
    generations = []
    for directory in directories[:2]:
        generations.append(base.slots.generation(pool.slot_for(directory)))
        pool.release(directory)
    evicted = list(gone)
    pool.forget([directories[1]])

    assert evicted == generations[:1]
    assert gone == generations
