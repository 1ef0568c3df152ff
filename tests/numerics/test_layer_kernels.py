"""A layer's kernels give what torch gives, in Triton's interpreter where there is no GPU."""

import os

import pytest
import torch
from torch.nn import functional

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


from family_models import ADAPTERS, FamilyModels, save_family
from tiny_models import trained_looking
from tuningfork.modeling.kernels import gating, norms, rotation
from tuningfork.modeling.kernels.base import HeadNorms, RmsNorm, Rotation
from tuningfork.modeling.kernels.plain import PLAIN
from tuningfork.modeling.kernels.plain import rotated as rotated_by
from tuningfork.modeling.kernels.triton_kernels import TRITON
from tuningfork.modeling.loading import load_base
from tuningfork.training.attention.segments import SegmentAttention

pytestmark = pytest.mark.slow

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=["fp32", "bf16", "fp16"])
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 2**-7, torch.float16: 2**-10}
"""Of bfloat16 and float16 one unit in the last place: all is computed in fp32, and rounded or cut off once."""
EPSILON = 1e-5


def numbers(*shape, dtype=torch.float32, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape))).to(DEVICE, dtype)


def near(found, wanted):
    """Within one unit in the last place of the found tensor's type."""
    scale = TOLERANCES[found.dtype]
    torch.testing.assert_close(found.double(), wanted.double(), rtol=scale, atol=scale)


SHAPES = pytest.mark.parametrize(
    "shape", [(1, 48), (7, 576), (2, 3072), (1, 1, 20), (3, 5, 64)], ids=lambda shape: "x".join(map(str, shape))
)


def strided(*shape, dtype=torch.float32, seed=0):
    """Numbers that lie among others: features side by side, and nothing else."""
    wider = (*shape[:1], *(2 * each for each in shape[1:]))
    return numbers(*wider, dtype=dtype, seed=seed)[tuple(slice(each) for each in shape)]


@DTYPES
@SHAPES
def test_a_norm_and_its_way_back(shape, dtype):
    x, weight = strided(*shape, dtype=dtype), 1 + numbers(shape[-1])
    norm = RmsNorm(weight, EPSILON)
    for into in (torch.float32, dtype):
        y, inverse = norms.rms_norm(x, weight, EPSILON, into)
        wanted, normed = PLAIN.layers.norm(norm, x, into)
        assert (y.dtype, y.shape, y.is_contiguous(), inverse.dtype) == (into, shape, True, torch.float32)
        near(y, wanted)
        near(inverse, normed.inverse)
        grad, rest = strided(*shape, dtype=dtype, seed=1), strided(*shape, seed=2)
        near(norms.rms_norm_backward(grad, x, inverse, weight, None), PLAIN.layers.norm_backward(norm, grad, normed))
        back = norms.rms_norm_backward(grad, x, inverse, weight, rest, into)
        near(back, PLAIN.layers.norm_backward(norm, grad, normed, rest, into))
        exact, rounded = norms.rms_norm_backward_rounded(grad, x, inverse, weight, rest, into)
        assert torch.equal(rounded, back)
        near(rounded, exact)


@DTYPES
@pytest.mark.parametrize("shape", [(1, 48), (7, 576), (2, 3072)], ids=lambda shape: "x".join(map(str, shape)))
def test_a_sum_and_its_norm(shape, dtype):
    x_TD, more_TD, weight = strided(*shape), strided(*shape, dtype=dtype, seed=1), 1 + numbers(shape[-1])
    sum_TD, y_TD, inverse = norms.add_rms_norm(x_TD, more_TD, weight, EPSILON, dtype)
    wanted_TD, normed = PLAIN.layers.add_and_norm(RmsNorm(weight, EPSILON), x_TD, more_TD, dtype)
    assert torch.equal(sum_TD, normed.x)
    near(y_TD, wanted_TD)
    near(inverse, normed.inverse)


@SHAPES
def test_the_gradient_of_a_norm_is_autograds(shape):
    x, weight, grad = numbers(*shape), 1 + numbers(shape[-1]), numbers(*shape, seed=1)
    exact = x.double().requires_grad_()
    functional.rms_norm(exact, shape[-1:], weight.double(), EPSILON).backward(grad.double())
    _, inverse = norms.rms_norm(x, weight, EPSILON, torch.float32)
    near(norms.rms_norm_backward(grad, x, inverse, weight, None), exact.grad)


@DTYPES
@pytest.mark.parametrize("name", ["silu", "gelu_tanh"])
@pytest.mark.parametrize(("rows", "features"), [(1, 3), (7, 48), (2, 1536)])
def test_a_gate_and_its_way_back(rows, features, name, dtype):
    both_TF = strided(rows, 2 * features, dtype=dtype)
    inner_TF = gating.gated(name, both_TF)
    assert (inner_TF.dtype, inner_TF.shape, inner_TF.is_contiguous()) == (dtype, (rows, features), True)
    exact_TF = both_TF.float()
    wanted_TF, acted_TF = PLAIN.layers.gated(name, exact_TF)
    near(inner_TF, wanted_TF)
    grad_TF = strided(rows, features, dtype=dtype, seed=1)
    grads_TF = gating.gated_backward(name, grad_TF, both_TF)
    assert (grads_TF.dtype, grads_TF.shape) == (dtype, both_TF.shape)
    near(grads_TF, PLAIN.layers.gated_backward(name, grad_TF.float(), exact_TF, acted_TF))


# The interpreter's exponentials overflow where a GPU's are infinite, which is what a sigmoid near zero is made of.
@pytest.mark.filterwarnings("ignore:overflow encountered in exp:RuntimeWarning")
@pytest.mark.parametrize("name", ["silu", "gelu_tanh"])
def test_the_gradient_of_a_gate_is_autograds_also_far_from_zero(name):
    both_TF, grad_TF = 20 * numbers(5, 60), numbers(5, 30, seed=1)
    exact_TF = both_TF.double().requires_grad_()
    gate_TF, up_TF = exact_TF.chunk(2, dim=-1)
    acted_TF = functional.silu(gate_TF) if name == "silu" else functional.gelu(gate_TF, approximate="tanh")
    (acted_TF * up_TF).backward(grad_TF.double())
    torch.testing.assert_close(
        gating.gated_backward(name, grad_TF, both_TF).double(), exact_TF.grad, rtol=1e-5, atol=1e-4
    )


def rotation_of(tokens, size):
    angles = numbers(tokens, size // 2)
    return Rotation.of(*(torch.cat((table, table), dim=-1) for table in (angles.cos(), angles.sin())))


@DTYPES
@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize(
    ("tokens", "heads", "size", "rotated"),
    [(1, 1, 8, 8), (7, 3, 20, 20), (3, 12, 64, 64), (7, 5, 24, 18), (2, 70, 256, 128)],
)
def test_a_rotation_in_place(tokens, heads, size, rotated, direction, dtype):
    all_TLK = strided(tokens, heads + 2, size, dtype=dtype)
    before_TLK, turn = all_TLK.clone(), rotation_of(tokens, rotated)
    rotation.rotate_(all_TLK, heads, turn.cos_T1K, turn.sin_T1K, direction)
    near(all_TLK[:, :heads], rotated_by(before_TLK[:, :heads].float(), turn, direction))
    assert torch.equal(all_TLK[:, heads:], before_TLK[:, heads:])
    assert torch.equal(all_TLK[..., rotated:], before_TLK[..., rotated:])


@DTYPES
@pytest.mark.parametrize("rotated", [None, 12, 20], ids=["not rotated", "part rotated", "rotated"])
@pytest.mark.parametrize(("tokens", "heads", "key_heads"), [(1, 1, 1), (7, 6, 2)])
def test_heads_are_normed_and_rotated_at_once(tokens, heads, key_heads, rotated, dtype):
    norms = HeadNorms(heads, RmsNorm(1 + numbers(20), EPSILON), RmsNorm(1 + numbers(20, seed=1), 0.1))
    turn = None if rotated is None else rotation_of(tokens, rotated)
    given_TLK = strided(tokens, heads + 2 * key_heads, 20, dtype=dtype)
    given_grad_TLK = strided(tokens, heads + 2 * key_heads, 20, dtype=dtype, seed=1)
    exact_TLK, exact_grad_TLK = (each.to(torch.float32, copy=True) for each in (given_TLK, given_grad_TLK))
    found = []
    for layers, all_TLK, grad_TLK in (
        (PLAIN.layers, exact_TLK, exact_grad_TLK),
        (TRITON.layers, given_TLK, given_grad_TLK),
    ):
        found.append(layers.norm_and_rotate_(all_TLK, heads + key_heads, norms, turn))
        layers.norm_and_rotate_backward_(grad_TLK, found[-1], norms, turn)
    exact, kept = found
    near(given_TLK, exact_TLK)
    near(given_grad_TLK, exact_grad_TLK)
    near(kept.x, exact.x)
    near(kept.inverse, exact.inverse)


def test_features_must_lie_side_by_side():
    with pytest.raises(ValueError, match="side by side"):
        norms.rms_norm(numbers(6, 4).t(), numbers(6), EPSILON, torch.float32)
    with pytest.raises(ValueError, match="side by side"):
        gating.gated("silu", numbers(6, 4).t())
    turn = rotation_of(4, 6)
    with pytest.raises(ValueError, match="side by side"):
        rotation.rotate_(numbers(4, 6, 2).transpose(1, 2), 2, turn.cos_T1K, turn.sin_T1K, 1)


def test_no_tokens_are_no_work():
    weight = numbers(8)
    y_TD, inverse = norms.rms_norm(numbers(0, 8), weight, EPSILON, torch.float32)
    assert (y_TD.shape, inverse.shape) == ((0, 8), (0, 1))
    assert gating.gated("silu", numbers(0, 8)).shape == (0, 4)


def loaded(model, dtype, kernels):
    """The model whose layers are computed by these kernels, and a slot with a trained adapter."""
    base = load_base(model, device=DEVICE, dtype=dtype, kernels=kernels)
    return base, base.slots.load(trained_looking(base.slots, ADAPTERS["a"], seed=1), trainable=True)


def passed(base, slot, *, keep):
    """Logits and the adapter's gradients of a pass over two texts, of which some tokens are learned."""
    lengths, learned_N = [5, 4], torch.tensor([2, 4, 5, 8])
    ids_T = torch.randint(0, 250, (9,), generator=torch.Generator().manual_seed(4)).to(DEVICE)
    positions_T = torch.cat([torch.arange(each) for each in lengths]).to(DEVICE)
    base.slots.trainable(slot).gradients_P.zero_()
    attention = SegmentAttention.of(lengths, base.device)
    trace = base.decoder.trace(ids_T, positions_T, learned_N, attention, slot, keep=keep)
    logits_NV = trace.logits_NV.clone()
    trace.backward(torch.softmax(trace.logits_NV, dim=-1))
    return logits_NV, base.slots.trainable(slot).gradients_P.clone()


@pytest.mark.parametrize(
    ("name", "keep"),
    # Plain; some layers without rotation; norms of queries and keys; norms behind products; a part of a head rotated.
    [("llama3", False), ("smollm3", True), ("qwen3", False), ("gemma2", True), ("gemma3", True), ("phi4-mini", True)],
)
def test_a_whole_decoder_there_and_back(name, keep, tmp_path):
    model = FamilyModels(name, save_family(name, tmp_path / name)).base_model
    wanted_NV, wanted_P = passed(*loaded(model, torch.float32, PLAIN), keep=True)
    found_NV, found_P = passed(*loaded(model, torch.float32, TRITON), keep=keep)
    torch.testing.assert_close(found_NV, wanted_NV, rtol=1e-4, atol=1e-4)
    assert (found_P - wanted_P).norm() < 1e-5 * wanted_P.norm()
    assert not torch.equal(found_P, wanted_P), "the kernels were not used"


@pytest.mark.bf16
@pytest.mark.parametrize("name", ["qwen3", "gemma3"])
def test_in_bfloat16_kernels_are_as_near_to_fp32_as_torch_is(name, tmp_path):
    model = FamilyModels(name, save_family(name, tmp_path / name)).base_model
    found = []
    for dtype, kernels in ((torch.float32, PLAIN), (torch.bfloat16, PLAIN), (torch.bfloat16, TRITON)):
        found.append(passed(*loaded(model, dtype, kernels), keep=True))
    for exact, torchs, ours in zip(*found, strict=True):
        # The interpreter cuts numbers off to bfloat16 where a GPU rounds them, which doubles the error of each.
        assert (ours - exact).norm() < (1.25 if DEVICE == "cuda" else 2) * (torchs - exact).norm()
        assert not torch.equal(ours, torchs), "the kernels were not used"
