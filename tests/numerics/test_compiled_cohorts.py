"""Compiled products of trained adapters: the equations of their products, and the same bits in any company."""

import functools

import pytest
import torch

from tuningfork.domain.errors import InternalError
from tuningfork.modeling.adapters.cohorts import Cohort
from tuningfork.modeling.compiled.cohorts import CompiledCohort
from tuningfork.modeling.compiled.library import Level, library

SHAPES = [(70, (33, 5, 9)), (64, (48,)), (13, (21, 130))]
"""Inputs, and the outputs of each layer, of groups; whole vectors and rests of them."""
SCALE = 0.5
ROWS = 17
TOLERANCES = {torch.float32: {"rtol": 1e-4, "atol": 1e-3}, torch.bfloat16: {"rtol": 2e-2, "atol": 5e-2}}

pytestmark = pytest.mark.skipif(library() is None, reason="this installation has no compiled parts")


@pytest.fixture(params=list(Level)[:3], ids=lambda level: level.name.lower())
def compiled(request):
    found = library()
    if found.level < request.param:
        pytest.skip(f"this processor, or what torch is held to, is below {request.param.name}")
    return functools.partial(CompiledCohort, found, level=request.param)


def drawn(*shape, seed, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def numbers(rank):
    return sum(len(outputs) * rank * inputs + rank * sum(outputs) for inputs, outputs in SHAPES)


def passed(cohort, group, rows, dtype, *, jobs=slice(None), zeros=0):
    """The output, what is kept, and the gradient of the inputs at a group, for these of `rows` jobs."""
    inputs, outputs = SHAPES[group]
    x, y, grad = (
        drawn(rows, ROWS, size, seed=seed, dtype=dtype)[jobs]
        for size, seed in ((inputs, 2), (sum(outputs), 3), (sum(outputs), 4))
    )
    # Padding: rows of any numbers, whose gradients are zero.
    x = torch.cat((x, drawn(len(x), zeros, inputs, seed=5, dtype=dtype)), dim=1)
    y, grad = (torch.cat((each, each.new_zeros(len(each), zeros, each.shape[2])), dim=1) for each in (y, grad))
    x, y, grad = (each.flatten(0, 1).contiguous() for each in (x, y, grad))
    into = torch.ones_like(x)
    kept = cohort.add(group, x, y)
    cohort.backward(group, grad, x, kept, into)
    return [each.view(-1, ROWS + zeros, each.shape[1])[:, :ROWS] for each in (y, kept, into)]


@pytest.mark.parametrize("rank", [1, 2, 3, 8, 16])
@pytest.mark.parametrize("dtype", list(TOLERANCES), ids=["fp32", "bf16"])
def test_compiled_products_are_those_of_torch_and_an_adapter_has_the_same_bits_alone_and_with_padding(
    compiled, dtype, rank
):
    weights_JP = drawn(3, numbers(rank), seed=1, dtype=dtype)
    torchs = Cohort.over(SHAPES, rank, SCALE, weights_JP.float(), torch.zeros(3, numbers(rank)))
    torchs.refresh()
    joint = Cohort.over(SHAPES, rank, SCALE, weights_JP, torch.zeros_like(weights_JP), compiled)
    second = Cohort.over(SHAPES, rank, SCALE, weights_JP[1:2], torch.zeros_like(weights_JP[1:2]), compiled)
    assert joint.is_compiled
    assert not torchs.is_compiled
    for zeros in (0, 6):
        for group in range(len(SHAPES)):
            right = _of_torch(torchs, group, dtype)
            found = passed(joint, group, 3, dtype)
            for one, other in zip(found, right, strict=True):
                torch.testing.assert_close(one.float(), other, **TOLERANCES[dtype])
            alone = passed(second, group, 3, dtype, jobs=slice(1, 2), zeros=zeros)
            assert all(torch.equal(one[1:2], other) for one, other in zip(found, alone, strict=True))
        torch.testing.assert_close(joint.gradients_JP.float(), torchs.gradients_JP, **TOLERANCES[dtype])
        assert torch.equal(joint.gradients_JP[1:2], second.gradients_JP)


def _of_torch(torchs, group, dtype):
    """The same, by torch in fp32 from numbers that were rounded to the type."""
    inputs, outputs = SHAPES[group]
    x, y, grad = (
        drawn(3, ROWS, size, seed=seed, dtype=dtype).float().flatten(0, 1)
        for size, seed in ((inputs, 2), (sum(outputs), 3), (sum(outputs), 4))
    )
    into = torch.ones_like(x)
    kept = torchs.add(group, x, y)
    torchs.backward(group, grad, x, kept, into)
    return [each.view(3, ROWS, -1) for each in (y, kept, into)]


@pytest.mark.parametrize("threads", [2, 3])
def test_the_number_of_threads_changes_no_bit(compiled, threads):
    before = torch.get_num_threads()
    found = []
    try:
        for count in (1, threads):
            torch.set_num_threads(count)
            # Enough products that several threads take part.
            flat_JP = drawn(2, 2 * 8 * 300 + 8 * 1400, seed=1)
            cohort = Cohort.over([(300, (700, 700))], 8, SCALE, flat_JP, torch.zeros_like(flat_JP), compiled)
            x, y, grad = drawn(200, 300, seed=2), drawn(200, 1400, seed=3), drawn(200, 1400, seed=4)
            into = torch.zeros_like(x)
            cohort.backward(0, grad, x, cohort.add(0, x, y), into)
            found.append((y, into, cohort.gradients_JP))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_rows_of_another_type_or_size_are_refused(compiled):
    weights_JP = drawn(2, numbers(2), seed=1)
    cohort = Cohort.over(SHAPES, 2, SCALE, weights_JP, torch.zeros_like(weights_JP), compiled)
    with pytest.raises(InternalError, match="rows of 70 numbers"):
        cohort.add(0, torch.zeros(4, 70, dtype=torch.bfloat16), torch.zeros(4, 47))
    with pytest.raises(InternalError, match="equally many rows"):
        cohort.add(0, torch.zeros(3, 70), torch.zeros(3, 47))
