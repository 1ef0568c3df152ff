"""Whatever number of targets an example has, the logits of few are in memory, and the losses and gradients stay."""

import pytest
import torch

from tuningfork.modeling.decoder.pieces import run_to_end
from tuningfork.training.loss import HeadLosses
from tuningfork.training.objectives import CrossEntropyObjective, DpoObjective, PassShare, loss_weights

COUNTS = [5, 3, 6, 4]


@pytest.fixture
def inputs(loaded_tiny):
    drawn = torch.Generator().manual_seed(3)
    head = loaded_tiny.decoder.head.weight
    read_ND = torch.randn(sum(COUNTS), head.shape[1], generator=drawn)
    return loaded_tiny.decoder, read_ND, torch.randint(len(head), (sum(COUNTS),), generator=drawn)


@pytest.mark.parametrize(
    "objective", [CrossEntropyObjective(), DpoObjective(0.3)], ids=["cross-entropy", "preferences"]
)
@torch.no_grad()
def test_blocks_of_targets_have_the_losses_and_gradients_of_all_at_once(inputs, objective):
    share = PassShare(objective=objective, counts=COUNTS, terms=objective.terms(COUNTS))
    weights = loss_weights([share], torch.rand(sum(COUNTS)) if objective.is_over_pairs else None)
    scores, grad_ND = run_to_end(HeadLosses(*inputs, most=1000).differentiating(weights))
    found, found_ND = run_to_end(HeadLosses(*inputs, most=4).differentiating(weights))
    torch.testing.assert_close(found.losses_N, scores.losses_N)
    assert found.right_N.equal(scores.right_N)
    torch.testing.assert_close(found_ND, grad_ND)


@torch.no_grad()
def test_blocks_of_targets_have_the_scores_of_all_at_once(inputs):
    scores = run_to_end(HeadLosses(*inputs, most=1000).scoring())
    found = run_to_end(HeadLosses(*inputs, most=4).scoring())
    torch.testing.assert_close(found.losses_N, scores.losses_N)
    assert found.right_N.equal(scores.right_N)


@torch.no_grad()
def test_no_block_has_more_logits_than_allowed(inputs):
    decoder, read_ND, targets_N = inputs
    asked = []

    class Watched:
        def going_through_head(self, rows_ND):
            asked.append(len(rows_ND))
            return decoder.going_through_head(rows_ND)

    run_to_end(HeadLosses(Watched(), read_ND, targets_N, most=4).scoring())
    assert max(asked) <= 4
    assert sum(asked) == len(targets_N)
