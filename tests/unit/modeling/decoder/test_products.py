import pytest
import torch

import precisions
from tuningfork.modeling.decoder.products import FrozenProduct, can_be_packed

SHAPE = (96, 64)


def drawn(*shape, dtype, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("dtype", precisions.BOTH)
@pytest.mark.parametrize("rows", [1, 3, 16, 77])
@pytest.mark.parametrize("biased", [False, True], ids=["plain", "biased"])
def test_packed_weights_give_the_same_bits_as_plain_ones(dtype, rows, biased):
    weight = drawn(*SHAPE, dtype=dtype)
    bias = drawn(SHAPE[0], dtype=dtype, seed=1) if biased else None
    plain, packed = FrozenProduct((weight,), bias), FrozenProduct((weight,), bias)
    packed.pack(backward=True)
    x, grad = drawn(rows, SHAPE[1], dtype=dtype, seed=2), drawn(rows, SHAPE[0], dtype=dtype, seed=3)
    assert torch.equal(packed(x), plain(x))
    torch.testing.assert_close(packed.backward(grad), plain.backward(grad))


def test_the_way_back_is_that_of_autograd():
    weight, x = drawn(*SHAPE, dtype=torch.float32), drawn(5, SHAPE[1], dtype=torch.float32, seed=1).requires_grad_()
    grad = drawn(5, SHAPE[0], dtype=torch.float32, seed=2)
    torch.nn.functional.linear(x, weight).backward(grad)
    torch.testing.assert_close(FrozenProduct((weight,)).backward(grad), x.grad)


def test_only_weights_that_the_library_rearranges_are_packed():
    assert not can_be_packed(torch.zeros(4, 4))
    assert not can_be_packed(torch.zeros(4, 4, dtype=torch.bfloat16, device="meta"))


@pytest.mark.parametrize("dtype", precisions.BOTH)
@pytest.mark.parametrize("biased", [False, True], ids=["plain", "biased"])
def test_many_rows_are_computed_in_blocks_and_few_are_one_piece(dtype, biased):
    product = FrozenProduct(
        (drawn(*SHAPE, dtype=dtype),), drawn(SHAPE[0], dtype=dtype, seed=1) if biased else None, piece=40 * 96 * 64
    )
    x, grad = drawn(100, SHAPE[1], dtype=dtype, seed=2), drawn(100, SHAPE[0], dtype=dtype, seed=3)
    for parts, whole, rows in ((product.in_parts, product, x), (product.backward_in_parts, product.backward, grad)):
        pieces, found = _pieces_of(parts(rows))
        # What comes before the first block, three blocks, and what comes after the last.
        assert pieces == 5
        torch.testing.assert_close(found, whole(rows))
        for few, wanted in ((40, 2), (5, 1)):
            pieces, found = _pieces_of(parts(rows[:few]))
            assert pieces == wanted
            assert found.equal(whole(rows[:few]))


def _pieces_of(parts):
    """How many pieces a computation has, and its result."""
    pieces = 1
    while True:
        try:
            next(parts)
        except StopIteration as ended:
            return pieces, ended.value
        pieces += 1
