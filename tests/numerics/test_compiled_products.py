"""Compiled products are right, and a row's numbers depend on nothing but the row and the weights.

T tokens, D inputs, O outputs.
"""

import pytest
import torch

from tuningfork.modeling.compiled.library import Level, library
from tuningfork.modeling.compiled.products import TYPES, CompiledProduct

LIBRARY = library()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="this installation has no compiled parts")
SHAPES = {
    "one part": ((64,), 64),
    "three parts": ((64, 32, 32), 96),
    "odd parts": ((3, 10, 1), 37),
    "one output": ((1,), 130),
    "one input": ((21,), 1),
    "several blocks of inputs": ((30,), 1303),
    "several blocks of outputs": ((500, 201), 45),
    "more columns than a group": ((24,), 700),
}
EACH_SHAPE = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
EACH_TYPE = pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
LEVELS = [level for level in Level if LIBRARY is None or level <= LIBRARY.level]
EACH_LEVEL = pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name.lower())
ROWS = (1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 25, 64)
MOST = 130


def drawn(shape, dtype):
    """Parts of weights, rows, gradients and a bias."""
    outputs, inputs = shape
    parts = [torch.randn(each, inputs).to(dtype) for each in outputs]
    return parts, torch.randn(MOST, inputs), torch.randn(MOST, sum(outputs)), torch.randn(sum(outputs))


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def assert_close(found, wanted):
    usual = wanted.square().mean().sqrt()
    assert float(((found - wanted).abs() / (wanted.abs() + usual)).max()) < 2e-6


@EACH_SHAPE
@EACH_TYPE
@EACH_LEVEL
def test_both_directions_are_those_of_exact_arithmetic(level, dtype, shape):
    parts, x_TD, grad_TO, bias_O = drawn(shape, dtype)
    weight_OD = torch.cat(parts).double()
    product = CompiledProduct(LIBRARY, parts, level=level)

    assert_close(product(x_TD), x_TD.double() @ weight_OD.t())
    assert_close(product(x_TD, bias_O), x_TD.double() @ weight_OD.t() + bias_O)
    assert_close(product.backward(grad_TO), grad_TO.double() @ weight_OD)


@EACH_SHAPE
@EACH_TYPE
@EACH_LEVEL
def test_a_row_has_the_same_bits_in_any_company_and_on_any_number_of_threads(level, dtype, shape, threads):
    parts, x_TD, grad_TO, bias_O = drawn(shape, dtype)
    product = CompiledProduct(LIBRARY, parts, level=level)
    threads(1)
    y_TO, grad_TD = product(x_TD, bias_O), product.backward(grad_TO)

    for count in (1, 2, 3):
        threads(count)
        assert torch.equal(product(x_TD, bias_O), y_TO)
        assert torch.equal(product.backward(grad_TO), grad_TD)
        for rows in ROWS:
            for begin in (0, MOST - rows):
                own = slice(begin, begin + rows)
                assert torch.equal(product(x_TD[own], bias_O), y_TO[own])
                assert torch.equal(product.backward(grad_TO[own]), grad_TD[own])


@EACH_LEVEL
def test_large_products_are_divided_among_threads_without_a_change(level, threads):
    # Enough multiplications for three threads, more rows than a block has, and both dimensions are divided.
    outputs, inputs = (40, 8), 1000
    parts = [torch.randn(each, inputs).bfloat16() for each in outputs]
    x_TD, grad_TO = torch.randn(300, inputs), torch.randn(300, sum(outputs))
    product = CompiledProduct(LIBRARY, parts, level=level)
    threads(1)
    y_TO, grad_TD = product(x_TD), product.backward(grad_TO)
    assert_close(y_TO, x_TD.double() @ torch.cat(parts).double().t())
    assert_close(grad_TD, grad_TO.double() @ torch.cat(parts).double())

    for count in (2, 3, 16):
        threads(count)
        assert torch.equal(product(x_TD), y_TO)
        assert torch.equal(product.backward(grad_TO), grad_TD)


@EACH_LEVEL
def test_parts_are_as_one_matrix(level):
    parts, x_TD, grad_TO, _ = drawn(SHAPES["odd parts"], torch.float16)
    product, whole = (
        CompiledProduct(LIBRARY, parts, level=level),
        CompiledProduct(LIBRARY, [torch.cat(parts)], level=level),
    )

    assert torch.equal(product(x_TD), whole(x_TD))
    assert torch.equal(product.backward(grad_TO), whole.backward(grad_TO))


@EACH_TYPE
@EACH_LEVEL
def test_weights_are_widened_exactly(level, dtype):
    # Each weight by itself: all 65,536 numbers of two bytes, subnormal ones and infinities among them; all of one byte.
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int16)
    weights_O1 = (bits.view(dtype) if dtype.itemsize < 4 else bits.float() * 0.37)[:, None].contiguous()
    product = CompiledProduct(LIBRARY, [weights_O1], level=level)

    [found_O] = product(torch.ones(1, 1))

    assert torch.equal(found_O.nan_to_num(7.0), weights_O1[:, 0].float().nan_to_num(7.0))


@EACH_SHAPE
@EACH_LEVEL
def test_scales_multiply_each_output_whatever_the_company_and_the_threads(level, shape, threads):
    parts, x_TD, grad_TO, bias_O = drawn(shape, torch.float32)
    parts = [(30 * part).round().clamp(-127, 127).to(torch.int8) for part in parts]
    scale_O = torch.rand(len(bias_O)) + 0.5
    weight_OD = torch.cat(parts).double() * scale_O.double()[:, None]
    product = CompiledProduct(LIBRARY, parts, scale_O, level=level)
    threads(1)
    y_TO, grad_TD = product(x_TD, bias_O), product.backward(grad_TO)

    assert_close(y_TO, x_TD.double() @ weight_OD.t() + bias_O)
    assert_close(grad_TD, grad_TO.double() @ weight_OD)
    for count in (1, 2, 3):
        threads(count)
        for rows in ROWS:
            assert torch.equal(product(x_TD[-rows:], bias_O), y_TO[-rows:])
            assert torch.equal(product.backward(grad_TO[-rows:]), grad_TD[-rows:])


@EACH_LEVEL
def test_rows_may_be_slices_of_wider_ones(level):
    parts, x_TD, grad_TO, _ = drawn(SHAPES["three parts"], torch.bfloat16)
    product = CompiledProduct(LIBRARY, parts, level=level)
    wide_TD, wide_TO = torch.randn(MOST, 200), torch.randn(MOST, 200)
    wide_TD[:, 50:146], wide_TO[:, 50:178] = x_TD, grad_TO

    assert torch.equal(product(wide_TD[:, 50:146]), product(x_TD))
    assert torch.equal(product.backward(wide_TO[:, 50:178]), product.backward(grad_TO))
    assert torch.equal(product(x_TD.t().contiguous().t()), product(x_TD))
    assert torch.equal(product(x_TD[::2]), product(x_TD)[::2])
    assert torch.equal(product(x_TD[:1].expand(3, -1)), product(x_TD[:1]).expand(3, -1))


def test_no_rows_give_no_outputs():
    product = CompiledProduct(LIBRARY, [torch.randn(5, 7)])

    assert product(torch.empty(0, 7)).shape == (0, 5)
    assert product.backward(torch.empty(0, 5)).shape == (0, 7)


def test_what_products_cannot_take_is_refused_in_a_sentence():
    product = CompiledProduct(LIBRARY, [torch.randn(5, 7)])

    for rows in (torch.randn(2, 6), torch.randn(2, 7, dtype=torch.float64), torch.randn(7)):
        with pytest.raises(Exception, match="rows of 7 numbers in fp32"):
            product(rows)
    for parts in ([torch.randn(5, 7).double()], [torch.randn(7, 5).t()]):
        with pytest.raises(Exception, match="contiguous fp32, bf16, fp16 and int8"):
            CompiledProduct(LIBRARY, parts)
    with pytest.raises(Exception, match="differ in their types or inputs"):
        CompiledProduct(LIBRARY, [torch.randn(5, 7), torch.randn(5, 7).half()])
