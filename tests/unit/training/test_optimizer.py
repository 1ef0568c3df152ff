import pytest
import torch

from tuningfork.training.optimizer import AdamW, update


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
        update([state], [ours], [gradient], steps=[step], learning_rate=rate)
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-6, atol=3e-7)


def test_a_rate_of_zero_changes_nothing():
    weights = torch.randn(10)
    before = weights.clone()
    update([AdamW.fresh(weights)], [weights], [torch.randn(10)], steps=[1], learning_rate=0.0)
    assert torch.equal(weights, before)


def test_several_adapters_take_their_steps_together_each_as_alone():
    draw = torch.Generator().manual_seed(0)
    weights, gradients = ([torch.randn(length, generator=draw) for length in (10, 1000, 37)] for _ in range(2))
    alone = [each.clone() for each in weights]
    steps = [1, 7, 300]
    states = [AdamW.fresh(each) for each in weights]
    update(states, weights, gradients, steps=steps, learning_rate=0.1)
    for one, gradient, step, together in zip(alone, gradients, steps, weights, strict=True):
        update([AdamW.fresh(one)], [one], [gradient], steps=[step], learning_rate=0.1)
        assert torch.equal(one, together)
