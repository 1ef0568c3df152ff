"""Long ranges are computed in tiles: the numbers of the whole range, in pieces between which anything may happen."""

import pytest
import torch

import precisions
from tuningfork.modeling.attention.plans import AttentionParameters, PackedPlan
from tuningfork.modeling.decoder.pieces import run_to_end
from tuningfork.training.attention.segments import SegmentAttention
from tuningfork.training.attention.tiles import Tiles

HEADS, GROUPS, SIZE = 6, 2, 16
CPU = torch.device("cpu")
KINDS = pytest.mark.parametrize(
    "how",
    [
        AttentionParameters(0.25, None, None),
        AttentionParameters(0.25, 4, None),
        AttentionParameters(0.25, 33, None),
        AttentionParameters(0.25, 300, None),
        AttentionParameters(0.25, None, 2.0),
        AttentionParameters(0.25, 9, 2.0),
        AttentionParameters(0.25, 200, 2.0),
    ],
    ids=["plain", "narrow", "window", "wide", "cap", "narrow cap", "wide cap"],
)


def drawn(tokens, heads, *, dtype=torch.float32, seed=0):
    return torch.randn(tokens, heads, SIZE, generator=torch.Generator().manual_seed(seed)).to(dtype)


def piece_of(side):
    """The size of a piece for tiles of so many queries and keys."""
    return 5 * HEADS * SIZE * side**2


def attention_of(lengths, side, prefixes=()):
    return SegmentAttention.of(lengths, CPU, prefixes, piece=piece_of(side))


def by_autograd(how, all_TLK, grad_THK):
    """Output and gradient of one segment, whole."""
    leaf = all_TLK.clone().requires_grad_()
    query, key, value = torch.split(leaf.transpose(0, 1), [HEADS, GROUPS, GROUPS])
    out = PackedPlan((len(leaf),)).attend(
        0, query, key, value, scaling=how.scaling, sliding_window=how.sliding_window, softcap=how.softcap
    )
    out.backward(grad_THK)
    return out.detach(), leaf.grad


def pieces_of(parts):
    """How many pieces a computation has, and its result."""
    count = 1
    while True:
        try:
            next(parts)
        except StopIteration as ended:
            return count, ended.value
        count += 1


@KINDS
@pytest.mark.parametrize("side", [7, 100])
def test_tiles_give_the_numbers_of_the_whole_segment(how, side):
    tokens = 600
    all_TLK, grad_THK = drawn(tokens, HEADS + 2 * GROUPS), drawn(tokens, HEADS, seed=1)
    attention = attention_of([tokens], side)
    out_wanted, grad_wanted = by_autograd(how, all_TLK, grad_THK)
    out, kept = attention.forward(0, how, all_TLK, HEADS)
    torch.testing.assert_close(out, out_wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(attention.backward(kept, grad_THK), grad_wanted, rtol=1e-4, atol=2e-5)


@KINDS
def test_a_prefix_that_long_ranges_share_counts_as_if_each_had_its_own(how):
    shared, own = 150, 1050
    all_TLK, grad_THK = drawn(shared + 2 * own, HEADS + 2 * GROUPS), drawn(shared + 2 * own, HEADS, seed=1)
    grad_THK[:shared] = 0
    attention = attention_of([shared, own, own], 100, [None, 0, 0])
    out, kept = attention.forward(0, how, all_TLK, HEADS)
    grad = attention.backward(kept, grad_THK)

    grad_wanted = torch.zeros_like(all_TLK)
    for begin in (shared, shared + own):
        mine = slice(begin, begin + own)
        whole = torch.cat((all_TLK[:shared], all_TLK[mine]))
        asked = torch.cat((torch.zeros_like(grad_THK[:shared]), grad_THK[mine]))
        out_piece, grad_piece = by_autograd(how, whole, asked)
        torch.testing.assert_close(out[mine], out_piece[shared:], rtol=1e-4, atol=1e-5)
        grad_wanted[:shared] += grad_piece[:shared]
        grad_wanted[mine] = grad_piece[shared:]
    torch.testing.assert_close(grad, grad_wanted, rtol=1e-4, atol=5e-5)


@pytest.mark.parametrize("dtype", precisions.BOTH)
@pytest.mark.parametrize("softcap", [None, 2.0])
def test_no_tile_has_more_products_than_a_piece_and_none_is_needed_for_few(dtype, softcap):
    how, tokens, side = AttentionParameters(0.25, None, softcap), 600, 100
    all_TLK, grad_THK = drawn(tokens, HEADS + 2 * GROUPS, dtype=dtype), drawn(tokens, HEADS, dtype=dtype, seed=1)
    attention = attention_of([tokens], side)
    tiles = Tiles.of(how, HEADS, SIZE, tokens, tokens, piece=piece_of(side))
    rows = [each for begin in range(0, tokens, side) for each in tiles._row(begin, begin + side)]
    sides = [(tile.last - tile.first, tile.last_key - tile.first_key) for tile in rows]
    forward, (out, kept) = pieces_of(attention.forward_in_parts(0, how, all_TLK, HEADS))
    backward, grad = pieces_of(attention.backward_in_parts(kept, grad_THK))

    assert set(sides) == {(side, side)}
    assert forward == backward == len(rows) + 1
    assert out.equal(attention.forward(0, how, all_TLK, HEADS)[0])
    assert grad.equal(attention.backward(kept, grad_THK))
    assert Tiles.of(how, HEADS, SIZE, side, side, piece=piece_of(side)) is None


def test_in_bfloat16_tiles_round_gradients_no_worse_than_the_whole_segment():
    how, tokens = AttentionParameters(0.25, None, None), 900
    all_TLK = drawn(tokens, HEADS + 2 * GROUPS, dtype=torch.bfloat16)
    grad_THK = drawn(tokens, HEADS, dtype=torch.bfloat16, seed=1)
    _, right = by_autograd(how, all_TLK.double(), grad_THK.double())
    offs = []
    for attention in (attention_of([tokens], 100), SegmentAttention.of([tokens], CPU)):
        _, kept = attention.forward(0, how, all_TLK, HEADS)
        offs.append((attention.backward(kept, grad_THK).double() - right).norm() / right.norm())
    assert offs[0] <= 1.05 * offs[1]


def test_what_is_computed_in_between_changes_no_bit():
    how, lengths = AttentionParameters(0.25, None, None), [600, 20, 700]
    inputs = [
        (drawn(sum(lengths), HEADS + 2 * GROUPS, seed=seed), drawn(sum(lengths), HEADS, seed=seed + 9))
        for seed in range(2)
    ]
    attentions = [attention_of(lengths, 100) for _ in inputs]
    wanted = []
    for attention, (all_TLK, grad_THK) in zip(attentions, inputs, strict=True):
        out, kept = attention.forward(0, how, all_TLK, HEADS)
        wanted.append((out, attention.backward(kept, grad_THK)))
    first, second = (
        attention.forward_in_parts(0, how, all_TLK, HEADS)
        for attention, (all_TLK, _) in zip(attentions, inputs, strict=True)
    )
    for _ in range(5):
        next(first)
        next(second)
    found = [run_to_end(first), run_to_end(second)]
    for attention, (out, kept), (_, grad_THK), (out_wanted, grad_wanted) in zip(
        attentions, found, inputs, wanted, strict=True
    ):
        assert out.equal(out_wanted)
        assert attention.backward(kept, grad_THK).equal(grad_wanted)
