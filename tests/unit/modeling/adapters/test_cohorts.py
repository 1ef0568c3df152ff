import pytest
import torch

from tuningfork.modeling.adapters.cohorts import Cohort

SHAPES = [(6, (4, 3)), (5, (2,))]
SCALE = 0.5
RANK = 2


def drawn(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def numbers(rank):
    return sum(len(outputs) * rank * inputs + rank * sum(outputs) for inputs, outputs in SHAPES)


def equation(flat_P, group, x_TD, rank):
    """What one adapter adds, from its flat numbers: of each group all A, then each layer's B, transposed."""
    begin = sum(len(outputs) * rank * inputs + rank * sum(outputs) for inputs, outputs in SHAPES[:group])
    inputs, outputs = SHAPES[group]
    a_RD = flat_P[begin : begin + len(outputs) * rank * inputs].view(-1, inputs)
    begin += a_RD.numel()
    added = []
    for place, count in enumerate(outputs):
        b_RO = flat_P[begin : begin + rank * count].view(rank, count)
        begin += rank * count
        added.append(SCALE * x_TD @ a_RD[place * rank : (place + 1) * rank].T @ b_RO)
    return torch.cat(added, dim=1)


@pytest.mark.parametrize("rank", [RANK, 40], ids=["layers with one B", "layers with a B each"])
@pytest.mark.parametrize("group", [0, 1])
@pytest.mark.parametrize("jobs", [1, 3])
def test_each_job_gets_its_equation_and_the_gradients_of_autograd(rank, group, jobs):
    inputs, outputs = SHAPES[group]
    weights_JP = drawn(jobs, numbers(rank), seed=1)
    gradients_JP = torch.full_like(weights_JP, 7.0)
    x, y = drawn(jobs * 4, inputs, seed=2), drawn(jobs * 4, sum(outputs), seed=3)
    grad = drawn(jobs * 4, sum(outputs), seed=4)
    leaf_JP, leaf_x = weights_JP.clone().requires_grad_(), x.clone().requires_grad_()
    blocks = zip(leaf_JP, leaf_x.split(4), strict=True)
    wanted = y + torch.cat([equation(flat_P, group, own, rank) for flat_P, own in blocks])
    wanted.backward(grad)

    cohort = Cohort.over(SHAPES, rank, SCALE, weights_JP, gradients_JP)
    cohort.refresh()
    found, grad_x = y.clone(), torch.ones_like(x)
    kept = cohort.add(group, x, found)
    torch.testing.assert_close(found, wanted.detach())
    cohort.backward(group, grad, x, kept, grad_x)
    torch.testing.assert_close(grad_x, 1 + leaf_x.grad, rtol=1e-4, atol=1e-4)
    moved = leaf_JP.grad != 0
    assert moved.any()
    torch.testing.assert_close(gradients_JP[moved], leaf_JP.grad[moved], rtol=1e-4, atol=1e-4)
    # Of other groups nothing is written.
    assert (gradients_JP[~moved] == 7.0).all()


def test_weights_that_changed_count_from_the_next_refresh_on():
    weights_JP = drawn(1, numbers(RANK), seed=1)
    cohort = Cohort.over(SHAPES, RANK, SCALE, weights_JP, torch.zeros_like(weights_JP))
    cohort.refresh()
    weights_JP.copy_(drawn(1, numbers(RANK), seed=5))
    cohort.refresh()
    x, y = drawn(4, 6, seed=2), torch.zeros(4, 7)
    cohort.add(0, x, y)
    torch.testing.assert_close(y, equation(weights_JP[0], 0, x, RANK))
