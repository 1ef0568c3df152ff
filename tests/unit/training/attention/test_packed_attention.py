"""Attention made of tensors alone, beside that of bins of segments."""

import pytest
import torch

from tuningfork.modeling.attention.plans import AttentionParameters
from tuningfork.training.attention.packed_attention import Borders, MaskedAttention, is_correct, numbers_of
from tuningfork.training.attention.segments import SegmentAttention

CPU = torch.device("cpu")
LENGTHS = (70, 1, 33, 16)


@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize("window", [None, 20])
@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (6, 2), (3, 1)])
def test_masked_attention_is_that_of_segments(heads, groups, window, softcap):
    draw = torch.Generator().manual_seed(0)
    all_TLK = torch.randn(sum(LENGTHS), heads + 2 * groups, 16, generator=draw)
    grad_THK = torch.randn(sum(LENGTHS), heads, 16, generator=draw)
    how = AttentionParameters(0.3, window, softcap)
    found = []
    for attention in (MaskedAttention(Borders.of(LENGTHS, CPU)), SegmentAttention.of(LENGTHS, CPU)):
        out_THK, kept = attention.forward(0, how, all_TLK, heads)
        found.append((out_THK, attention.backward(kept, grad_THK)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_empty_segments_may_follow():
    begins_S1, segment_T = numbers_of([2, 3], 4)
    assert begins_S1.tolist() == [0, 2, 5, 5, 5]
    assert segment_T.tolist() == [0, 0, 1, 1, 1]


def passes(tried):
    return is_correct(tried, CPU, torch.bfloat16, (4, 2, 16), None)


def test_kernels_that_are_not_there_are_done_without(caplog):
    class Missing(MaskedAttention):
        def forward(self, *_):
            raise RuntimeError("no kernel image is available for execution on the device")

    assert not passes(Missing)
    assert "no kernel image" in caplog.text


@pytest.mark.parametrize(("wrong", "right"), [(0.0, True), (0.1, False), (torch.nan, False)])
def test_kernels_that_compute_something_else_are_done_without(caplog, wrong, right):
    class Off(MaskedAttention):
        """The right numbers, and on the way back others."""

        def backward(self, kept, grad_THK):
            return MaskedAttention.backward(self, kept, grad_THK) * (1 + wrong)

    assert passes(Off) == right
    assert bool(caplog.records) != right
