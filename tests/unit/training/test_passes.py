import pytest
import torch
from torch.nn import functional

from tuningfork.training.loss import TargetLosses, scores_of
from tuningfork.training.sections import rounded


@pytest.mark.parametrize("scale", [1.0, 100.0], ids=["moderate", "so sure that others round to nothing"])
def test_losses_and_gradients_are_those_of_autograd(scale):
    generator = torch.Generator().manual_seed(0)
    logits = (scale * torch.randn(7, 50, generator=generator)).requires_grad_()
    targets = torch.randint(50, (7,), generator=generator)
    weights = torch.rand(7, generator=generator)
    wanted = functional.cross_entropy(logits, targets, reduction="none")
    (wanted * weights).sum().backward()
    found = TargetLosses.of(logits.detach(), targets)
    losses, grads = found.losses_N, found.gradient(weights)
    torch.testing.assert_close(losses, wanted.detach())
    torch.testing.assert_close(grads, logits.grad)


def test_a_target_is_right_if_no_token_is_likelier():
    logits = torch.tensor([[0.0, 2.0, 2.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    targets = torch.tensor([2, 0, 1])
    assert scores_of(logits, targets).right_N.tolist() == [True, True, False]
    assert TargetLosses.of(logits, targets).right_N.tolist() == [True, True, False]


def test_passes_are_filled_up_to_few_sizes_and_by_little():
    for tokens in range(1, 2000):
        assert tokens <= rounded(tokens) < tokens + 16
        assert rounded(rounded(tokens)) == rounded(tokens)
    assert len({rounded(tokens) for tokens in range(1, 129)}) == 8
