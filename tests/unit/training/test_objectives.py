"""What an objective makes of targets' losses: weights that are its derivative by them."""

import math

import pytest
import torch
from torch.nn.functional import logsigmoid

from tuningfork.domain.objective import CrossEntropy, DirectPreferenceOptimization
from tuningfork.training.objectives import PassShare, loss_weights, objective_of

BETA = 0.2
DPO = objective_of(DirectPreferenceOptimization(beta=BETA))
CROSS_ENTROPY = objective_of(CrossEntropy())

SHARES = (
    PassShare(objective=CROSS_ENTROPY, counts=[2, 1], terms=4),
    PassShare(objective=DPO, counts=[3, 1, 2, 2], terms=5),
    PassShare(objective=CROSS_ENTROPY, counts=[4], terms=4),
    PassShare(objective=DPO, counts=[1, 2], terms=1),
)
"""Of a pass of four jobs, whose batches have more passes than this one."""
BORDERS = (0, 3, 11, 15, 18)


@pytest.fixture
def losses():
    return 3 * torch.rand(18, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def references():
    return 3 * torch.rand(18, generator=torch.Generator().manual_seed(1))


def dpo(losses_N, reference_N, counts):
    """By autograd, term by term."""
    answers = [each.sum() for each in torch.split(reference_N - losses_N, counts)]
    pairs = [-logsigmoid(BETA * (answers[at] - answers[at + 1])) for at in range(0, len(answers), 2)]
    return torch.stack(pairs).sum()


def test_weights_are_the_derivative_of_every_jobs_mean_loss(losses, references):
    leaf_N = losses.clone().requires_grad_()
    total = leaf_N[:3].sum() / 4 + leaf_N[11:15].sum() / 4
    total = total + dpo(leaf_N[3:11], references[3:11], [3, 1, 2, 2]) / 5
    total = total + dpo(leaf_N[15:], references[15:], [1, 2])
    total.backward()
    torch.testing.assert_close(loss_weights(SHARES, references).of(losses), leaf_N.grad)


def test_totals_are_the_sums_of_the_losses(losses, references):
    for share, begin, end in zip(SHARES, BORDERS[:-1], BORDERS[1:], strict=True):
        own_N, known_N = losses[begin:end], references[begin:end]
        found = share.objective.total(own_N, known_N, share.counts)
        if share.objective is CROSS_ENTROPY:
            assert found == math.fsum(own_N.tolist())
            assert share.objective.terms(share.counts) == end - begin
        else:
            assert found == pytest.approx(float(dpo(own_N, known_N, share.counts)), rel=1e-6)
            assert share.objective.terms(share.counts) == len(share.counts) // 2


def test_the_weights_of_a_job_do_not_depend_on_who_shares_its_pass(losses, references):
    together_N = loss_weights(SHARES, references).of(losses)
    for share, begin, end in zip(SHARES, BORDERS[:-1], BORDERS[1:], strict=True):
        known_N = references[begin:end] if share.objective is DPO else None
        assert torch.equal(loss_weights([share], known_N).of(losses[begin:end]), together_N[begin:end])


def test_a_layout_with_more_room_has_the_same_weights_and_nothing_elsewhere(losses, references):
    weights = loss_weights(SHARES, references)
    places_N = torch.randperm(30, generator=torch.Generator().manual_seed(2))[:18]
    padded_losses_N = torch.full((30,), 7.0).index_copy_(0, places_N, losses)
    for pairs in (None, 8):
        padded_N = weights.padded(places_N, 30, pairs).of(padded_losses_N)
        torch.testing.assert_close(padded_N[places_N], weights.of(losses))
        assert padded_N.count_nonzero() == 18


def test_a_pair_that_is_far_apart_has_a_finite_loss():
    for far in (1e4, -1e4):
        found = DPO.total(torch.tensor([0.0, far]), torch.zeros(2), [1, 1])
        assert found == pytest.approx(max(0.0, -BETA * far), abs=1e-9)


def test_of_a_pair_only_the_chosen_answer_is_to_be_predicted():
    assert DPO.predicted([3, 1, 2, 2]) == [True, False, True, False]
    assert CROSS_ENTROPY.predicted([3, 1]) == [True, True]
