import pytest
import torch

from tuningfork.modeling.adapters.routes import Adapter, Composite, PerToken, Uniform
from tuningfork.modeling.adapters.tables import AdapterTables, GroupWeights
from tuningfork.modeling.kernels.plain import PLAIN

INPUTS, OUTPUTS = 6, (4, 3)
SCALE = 0.5


def drawn(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def weights(rank, seed):
    bs = tuple(drawn(each, rank, seed=seed + 100 + place) for place, each in enumerate(OUTPUTS))
    return GroupWeights(drawn(rank * len(OUTPUTS), INPUTS, seed=seed), bs)


def added(own, x, scale=SCALE):
    """What an adapter adds to the group's outputs, by its equation."""
    return torch.cat([scale * x @ own.a_of(place).T @ b.T for place, b in enumerate(own.bs_OR)], dim=1)


def trained(rank, seed):
    own = weights(rank, seed)
    gradients = GroupWeights(torch.zeros_like(own.a_RD), tuple(map(torch.zeros_like, own.bs_OR)))
    return Adapter([own], SCALE, [gradients])


def test_a_uniform_route_adds_its_equation_and_goes_back_as_autograd_does():
    adapter = trained(2, 1)
    [own], [gradients] = adapter.groups, adapter.gradients
    x, y, grad = drawn(5, INPUTS, seed=2), drawn(5, sum(OUTPUTS), seed=3), drawn(5, sum(OUTPUTS), seed=4)
    leaf_x = x.clone().requires_grad_()
    leaves = GroupWeights(own.a_RD.clone().requires_grad_(), tuple(b.clone().requires_grad_() for b in own.bs_OR))
    wanted = y + added(leaves, leaf_x)
    wanted.backward(grad)
    found, grad_x = y.clone(), torch.ones_like(x)
    route = Uniform(adapter)
    kept = route.add(0, x, found)
    torch.testing.assert_close(found, wanted.detach())
    route.backward(0, grad, x, kept, grad_x)
    torch.testing.assert_close(grad_x, 1 + leaf_x.grad)
    torch.testing.assert_close(gradients.a_RD, leaves.a_RD.grad)
    for found_b, leaf in zip(gradients.bs_OR, leaves.bs_OR, strict=True):
        torch.testing.assert_close(found_b, leaf.grad)


def test_a_composite_route_leaves_tokens_of_no_range_alone():
    first, second = trained(2, 1), trained(3, 5)
    x, y = drawn(7, INPUTS, seed=2), drawn(7, sum(OUTPUTS), seed=3)
    found = y.clone()
    Composite([(slice(0, 2), Uniform(first)), (slice(4, 7), Uniform(second))]).add(0, x, found)
    torch.testing.assert_close(found[:2], y[:2] + added(first.groups[0], x[:2]))
    assert torch.equal(found[2:4], y[2:4])
    torch.testing.assert_close(found[4:], y[4:] + added(second.groups[0], x[4:]))


def rows_over(ranks):
    """Tables with one adapter of each of these ranks, in slots 0, 1, ..."""
    tables = AdapterTables([(INPUTS, OUTPUTS)], dtype=torch.float32, device=torch.device("cpu"))
    for slot, rank in enumerate(ranks):
        tables.put(slot, rank, [weights(rank, slot)], SCALE)
    return tables


@pytest.mark.parametrize("ranks", [(2, 2, 2), (2, 3, 2)], ids=["one rank", "two ranks"])
@pytest.mark.parametrize("slots", [[0, 1, 2], [2, 2, 0, 1, 0], [1]], ids=str)
def test_each_row_gets_its_own_adapter(ranks, slots):
    x, y = drawn(len(slots), INPUTS, seed=2), drawn(len(slots), sum(OUTPUTS), seed=3)
    found = y.clone()
    PerToken.of(PLAIN.adapters, rows_over(ranks), list(enumerate(slots))).add(0, x, found)
    for row, slot in enumerate(slots):
        own = weights(ranks[slot], slot)
        torch.testing.assert_close(found[row], y[row] + added(own, x[row : row + 1])[0])


def test_rows_without_an_adapter_are_passed_over():
    x, y = drawn(4, INPUTS, seed=2), drawn(4, sum(OUTPUTS), seed=3)
    found = y.clone()
    PerToken.of(PLAIN.adapters, rows_over((2, 2)), [(0, 1), (3, 0)]).add(0, x, found)
    assert torch.equal(found[1:3], y[1:3])
    torch.testing.assert_close(found[3], y[3] + added(weights(2, 0), x[3:])[0])


def test_a_rows_bits_do_not_depend_on_who_is_beside_it():
    tables, x = rows_over((2, 2, 2)), drawn(5, INPUTS, seed=2)
    together, alone = torch.zeros(5, sum(OUTPUTS)), torch.zeros(1, sum(OUTPUTS))
    PerToken.of(PLAIN.adapters, tables, list(enumerate([0, 1, 2, 1, 0]))).add(0, x, together)
    PerToken.of(PLAIN.adapters, tables, [(0, 2)]).add(0, x[2:3], alone)
    assert torch.equal(together[2:3], alone)


def test_rows_are_never_gone_through_backwards():
    rows = PerToken.of(PLAIN.adapters, rows_over((2,)), [(0, 0)])
    with pytest.raises(NotImplementedError, match="trainable=True"):
        rows.backward(0, torch.zeros(1, sum(OUTPUTS)), torch.zeros(1, INPUTS), None, None)
