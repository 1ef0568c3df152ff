import pytest
import torch
from torch.nn import functional

from tuningfork.modeling.decoder.pieces import ACTIVATIONS, RmsNorm, Rotation, gated, gated_backward


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(5, 12), (5, 3, 12)])
def test_a_norm_and_its_way_back_are_those_of_autograd(shape):
    x, weight, slope = drawn(*shape).requires_grad_(), drawn(12, seed=1), drawn(*shape, seed=2)
    norm = RmsNorm(weight, 1e-5)
    wanted = functional.rms_norm(x, (12,), weight, 1e-5)
    wanted.backward(slope)
    found, normed = norm.forward(x.detach())
    torch.testing.assert_close(found, wanted.detach())
    torch.testing.assert_close(norm.backward(slope, normed), x.grad)
    rest = drawn(*shape, seed=3)
    torch.testing.assert_close(norm.backward(slope, normed, rest), x.grad + rest)


@pytest.mark.parametrize("rotated", [16, 8], ids=["whole heads", "half of each head"])
def test_a_rotation_turns_halves_against_each_other_and_back(rotated):
    angles = drawn(7, rotated // 2)
    cos_TK, sin_TK = (torch.cat((table, table), dim=-1) for table in (angles.cos(), angles.sin()))
    x_THK = drawn(7, 3, 16, seed=1)
    rotation = Rotation.of(cos_TK, sin_TK)
    turned = rotation.forward(x_THK)
    first, second = x_THK[..., : rotated // 2], x_THK[..., rotated // 2 : rotated]
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    wanted = torch.cat((first * cos - second * sin, second * cos + first * sin, x_THK[..., rotated:]), dim=-1)
    torch.testing.assert_close(turned, wanted)
    torch.testing.assert_close(rotation.backward(turned), x_THK)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_a_gated_activation_and_its_way_back_are_those_of_autograd(name):
    both, slope = drawn(6, 20).requires_grad_(), drawn(6, 10, seed=1)
    act = functional.silu if name in ("silu", "swish") else lambda x: functional.gelu(x, approximate="tanh")
    gate, up = both.chunk(2, dim=-1)
    wanted = act(gate) * up
    wanted.backward(slope)
    activation = ACTIVATIONS[name]()
    found, acted = gated(activation, both.detach())
    torch.testing.assert_close(found, wanted.detach())
    torch.testing.assert_close(gated_backward(activation, slope, both.detach(), acted), both.grad)
