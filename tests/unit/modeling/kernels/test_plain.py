import pytest
import torch
from torch.nn import functional

from tuningfork.modeling.decoder.recipe import ACTIVATIONS
from tuningfork.modeling.kernels.base import RmsNorm, Rotation
from tuningfork.modeling.kernels.plain import PlainLayers
from tuningfork.modeling.kernels.plain import rotated as rotated_by

LAYERS = PlainLayers()


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(5, 12), (5, 3, 12)])
def test_a_norm_and_its_way_back_are_those_of_autograd(shape):
    x, weight, grad = drawn(*shape).requires_grad_(), drawn(12, seed=1), drawn(*shape, seed=2)
    norm = RmsNorm(weight, 1e-5)
    wanted = functional.rms_norm(x, (12,), weight, 1e-5)
    wanted.backward(grad)
    found, normed = LAYERS.norm(norm, x.detach())
    torch.testing.assert_close(found, wanted.detach())
    torch.testing.assert_close(LAYERS.norm_backward(norm, grad, normed), x.grad)
    rest = drawn(*shape, seed=3)
    torch.testing.assert_close(LAYERS.norm_backward(norm, grad, normed, rest), x.grad + rest)


@pytest.mark.parametrize("rotated", [16, 8], ids=["whole heads", "half of each head"])
def test_a_rotation_turns_halves_against_each_other_and_back(rotated):
    angles = drawn(7, rotated // 2)
    cos_TK, sin_TK = (torch.cat((table, table), dim=-1) for table in (angles.cos(), angles.sin()))
    x_THK = drawn(7, 3, 16, seed=1)
    rotation = Rotation.of(cos_TK, sin_TK)
    turned = rotated_by(x_THK, rotation, 1)
    first, second = x_THK[..., : rotated // 2], x_THK[..., rotated // 2 : rotated]
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    wanted = torch.cat((first * cos - second * sin, second * cos + first * sin, x_THK[..., rotated:]), dim=-1)
    torch.testing.assert_close(turned, wanted)
    torch.testing.assert_close(rotated_by(turned, rotation, -1), x_THK)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_a_gated_activation_and_its_way_back_are_those_of_autograd(name):
    both, grad = drawn(6, 20).requires_grad_(), drawn(6, 10, seed=1)
    act = functional.silu if name in ("silu", "swish") else lambda x: functional.gelu(x, approximate="tanh")
    gate, up = both.chunk(2, dim=-1)
    wanted = act(gate) * up
    wanted.backward(grad)
    activation = ACTIVATIONS[name]
    found, acted = LAYERS.gated(activation, both.detach())
    torch.testing.assert_close(found, wanted.detach())
    torch.testing.assert_close(LAYERS.gated_backward(activation, grad, both.detach(), acted), both.grad)
