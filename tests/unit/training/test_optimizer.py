import pytest
import torch

from tuningfork.training.optimizer import AdamW


@pytest.mark.parametrize("rate", [0.0, 1e-3, 0.5])
def test_it_takes_the_steps_of_torchs_adamw(rate):
    draw = torch.Generator().manual_seed(0)
    ours = torch.randn(1000, generator=draw)
    theirs = ours.clone().requires_grad_()
    state = AdamW.fresh(ours)
    reference = torch.optim.AdamW([theirs], lr=rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    for step in range(1, 30):
        # Gradients of very different sizes, some of them exactly zero.
        gradient = torch.randn(1000, generator=draw) * 10 ** torch.randint(-9, 3, (1000,), generator=draw).float()
        gradient[:100] = 0
        theirs.grad = gradient
        reference.step()
        state.update(ours, gradient, step=step, learning_rate=rate)
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-6, atol=3e-7)


def test_a_rate_of_zero_changes_nothing():
    weights = torch.randn(10)
    before = weights.clone()
    AdamW.fresh(weights).update(weights, torch.randn(10), step=1, learning_rate=0.0)
    assert torch.equal(weights, before)
