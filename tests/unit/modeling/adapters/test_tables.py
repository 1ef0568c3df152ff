import torch

from tuningfork.modeling.adapters.tables import AdapterTables, GroupWeights

SHAPES = [(6, (4, 3)), (5, (2,))]


def tables():
    return AdapterTables(SHAPES, dtype=torch.float32, device=torch.device("cpu"))


def adapter(rank, seed):
    generator = torch.Generator().manual_seed(seed)
    return [
        GroupWeights(
            torch.randn(rank * len(outputs), inputs, generator=generator),
            tuple(torch.randn(each, rank, generator=generator) for each in outputs),
        )
        for inputs, outputs in SHAPES
    ]


def assert_holds(table, slot, weights, scale):
    for found, given in zip(table.weights(slot), weights, strict=True):
        assert torch.equal(found.a_RD, given.a_RD)
        for b, given_b in zip(found.bs_OR, given.bs_OR, strict=True):
            assert torch.equal(b, given_b * scale)


def test_every_adapter_is_found_again_while_tables_grow():
    table, given = tables(), {slot: adapter(2, slot) for slot in range(11)}
    for slot, weights in given.items():
        table.put(slot, 2, weights, scale=slot + 0.5)
    for slot, weights in given.items():
        assert_holds(table, slot, weights, slot + 0.5)


def test_adapters_of_different_ranks_lie_side_by_side():
    table = tables()
    table.put(0, 2, adapter(2, 0), 1.0)
    table.put(1, 3, adapter(3, 1), 2.0)
    assert_holds(table, 0, adapter(2, 0), 1.0)
    assert_holds(table, 1, adapter(3, 1), 2.0)
    assert (table.rank_of(0), table.rank_of(1)) == (2, 3)


def test_a_place_that_was_freed_is_used_again_before_tables_grow():
    table = tables()
    for slot in range(4):
        table.put(slot, 2, adapter(2, slot), 1.0)
    table.drop(2)
    table.put(9, 2, adapter(2, 9), 1.0)
    assert table.of_rank(2).capacity == 4
    assert_holds(table, 9, adapter(2, 9), 1.0)
    assert_holds(table, 3, adapter(2, 3), 1.0)


def test_tables_give_memory_back_when_a_quarter_of_them_is_in_use():
    table, given = tables(), {slot: adapter(2, slot) for slot in range(17)}
    for slot, weights in given.items():
        table.put(slot, 2, weights, scale=slot + 0.5)
    full, version = table.of_rank(2).capacity, table.version_of(2)
    for slot in range(2, 17):
        table.drop(slot)
        for left in (0, 1, *range(slot + 1, 17)):
            assert_holds(table, left, given[left], left + 0.5)

    assert (full, table.of_rank(2).capacity) == (32, 4)
    assert [each.a_CDR.shape[0] for each in table.of_rank(2).groups] == [4, 4]
    assert [b.shape[0] for each in table.of_rank(2).groups for b in each.bs_CRO] == [4, 4, 4]
    assert table.version_of(2) != version


def test_tables_that_have_shrunk_take_adapters_again():
    table = tables()
    for slot in range(5):
        table.put(slot, 2, adapter(2, slot), 1.0)
    for slot in (0, 2, 4):
        table.drop(slot)
    for slot in (5, 6, 7):
        table.put(slot, 2, adapter(2, slot), 1.0)

    for slot in (1, 3, 5, 6, 7):
        assert_holds(table, slot, adapter(2, slot), 1.0)
