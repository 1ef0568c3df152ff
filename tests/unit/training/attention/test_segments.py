from itertools import pairwise

import pytest
import torch

import precisions
from tuningfork.modeling.attention.plans import AttentionParameters, PackedPlan
from tuningfork.training.attention.segments import SegmentAttention

HEADS, GROUPS, SIZE = 6, 2, 16
PLAIN = AttentionParameters(0.25, None, None)
WINDOW = AttentionParameters(0.25, 4, None)
CAP = AttentionParameters(0.25, None, 2.0)
CPU = torch.device("cpu")


def drawn(tokens, heads, *, dtype=torch.float32, seed=0):
    return torch.randn(tokens, heads, SIZE, generator=torch.Generator().manual_seed(seed)).to(dtype)


def wanted(lengths, how, all_TLK, grad_THK):
    """Output and gradient by autograd through the plan that serving reads prompts with."""
    leaf = all_TLK.clone().requires_grad_()
    query, key, value = torch.split(leaf.transpose(0, 1), [HEADS, GROUPS, GROUPS])
    out = PackedPlan(tuple(lengths)).attend(
        0, query, key, value, scaling=how.scaling, sliding_window=how.sliding_window, softcap=how.softcap
    )
    out.backward(grad_THK)
    return out.detach(), leaf.grad


@pytest.mark.parametrize(
    "lengths",
    [[5], [16], [16, 16], [3, 40, 16, 5], [1, 1, 1], [600], [600, 7, 550, 20]],
    ids=str,
)
@pytest.mark.parametrize(
    "how",
    [
        PLAIN,
        AttentionParameters(0.25, 4, None),
        AttentionParameters(0.25, None, 2.0),
        AttentionParameters(0.25, 9, 2.0),
    ],
    ids=["plain", "window", "cap", "both"],
)
def test_the_output_and_the_way_back_are_those_of_autograd(lengths, how):
    tokens = sum(lengths)
    all_TLK, grad_THK = drawn(tokens, HEADS + 2 * GROUPS), drawn(tokens, HEADS, seed=1)
    attention = SegmentAttention.of(lengths, CPU)
    out, kept = attention.forward(0, how, all_TLK, HEADS)
    out_wanted, grad_wanted = wanted(lengths, how, all_TLK, grad_THK)
    torch.testing.assert_close(out, out_wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(attention.backward(kept, grad_THK), grad_wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", precisions.BOTH)
@pytest.mark.parametrize("company", [[7], [30], [16, 16, 3], [100, 5]], ids=str)
def test_a_segments_bits_do_not_depend_on_who_is_beside_it(company, dtype):
    own = [20, 9]
    lengths = [*company[:1], *own, *company[1:]]
    begin, tokens = company[0], sum(own)
    all_TLK = drawn(sum(lengths), HEADS + 2 * GROUPS, dtype=dtype)
    grad_THK = drawn(sum(lengths), HEADS, dtype=dtype, seed=1)
    mine = slice(begin, begin + tokens)
    together, alone = SegmentAttention.of(lengths, CPU), SegmentAttention.of(own, CPU)
    out, kept = together.forward(0, PLAIN, all_TLK, HEADS)
    out_alone, kept_alone = alone.forward(0, PLAIN, all_TLK[mine].contiguous(), HEADS)
    assert torch.equal(out[mine], out_alone)
    assert torch.equal(together.backward(kept, grad_THK)[mine], alone.backward(kept_alone, grad_THK[mine]))


@pytest.mark.parametrize(
    ("shared", "lengths"),
    [(7, [5, 9]), (16, [3, 16, 20]), (40, [1, 30]), (33, [600, 8]), (1100, [5, 5])],
    ids=str,
)
@pytest.mark.parametrize(
    "how",
    [
        PLAIN,
        AttentionParameters(0.25, 6, None),
        AttentionParameters(0.25, 50, None),
        AttentionParameters(0.25, None, 2.0),
    ],
    ids=["plain", "near", "far", "cap"],
)
def test_a_shared_prefix_counts_as_if_each_range_had_its_own(shared, lengths, how):
    beside = 11
    tokens = beside + shared + sum(lengths)
    all_TLK, grad_THK = drawn(tokens, HEADS + 2 * GROUPS), drawn(tokens, HEADS, seed=1)
    attention = SegmentAttention.of([beside, shared, *lengths], CPU, [None, None, *[1] * len(lengths)])
    out, kept = attention.forward(0, how, all_TLK, HEADS)
    grad = attention.backward(kept, grad_THK)

    begins = [sum([beside, shared, *lengths][:index]) for index in range(2, 3 + len(lengths))]
    own = [slice(begin, end) for begin, end in pairwise(begins)]
    head, rest = slice(beside, beside + shared), slice(0, beside)
    grad_wanted = torch.zeros_like(all_TLK)
    for part in own:
        whole = torch.cat((all_TLK[head], all_TLK[part]))
        # The prefix's own outputs are asked for once, not by each range.
        asked = torch.cat((torch.zeros_like(grad_THK[head]), grad_THK[part]))
        out_piece, grad_piece = wanted([len(whole)], how, whole, asked)
        torch.testing.assert_close(out[part], out_piece[shared:], rtol=1e-4, atol=1e-5)
        grad_wanted[head] += grad_piece[:shared]
        grad_wanted[part] = grad_piece[shared:]
    for part in (head, rest):
        length = part.stop - part.start
        out_piece, grad_piece = wanted([length], how, all_TLK[part], grad_THK[part])
        torch.testing.assert_close(out[part], out_piece, rtol=1e-4, atol=1e-5)
        grad_wanted[part] += grad_piece
    torch.testing.assert_close(grad, grad_wanted, rtol=1e-4, atol=2e-5)
