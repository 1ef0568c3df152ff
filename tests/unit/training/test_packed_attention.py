"""Attention made of tensors alone, beside that of bins of segments."""

import pytest
import torch

from tuningfork.modeling.decoder.layer import How
from tuningfork.training import packed_attention
from tuningfork.training.packed_attention import Borders, FusedAttention, MaskedAttention, numbers_of
from tuningfork.training.segments import SegmentAttention

CPU = torch.device("cpu")
LENGTHS = (70, 1, 33, 16)


@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize("window", [None, 20])
@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (6, 2), (3, 1)])
def test_masked_attention_is_that_of_segments(heads, groups, window, softcap):
    draw = torch.Generator().manual_seed(0)
    all_TLK = torch.randn(sum(LENGTHS), heads + 2 * groups, 16, generator=draw)
    slope_THK = torch.randn(sum(LENGTHS), heads, 16, generator=draw)
    how = How(0.3, window, softcap)
    found = []
    for attention in (MaskedAttention(Borders.of(LENGTHS, CPU)), SegmentAttention.of(LENGTHS, CPU)):
        out_THK, kept = attention.forward(0, how, all_TLK, heads)
        found.append((out_THK, attention.backward(kept, slope_THK)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_empty_segments_may_follow():
    begins_S1, segment_T = numbers_of([2, 3], 4)
    assert begins_S1.tolist() == [0, 2, 5, 5, 5]
    assert segment_T.tolist() == [0, 0, 1, 1, 1]


@pytest.fixture
def trial():
    packed_attention._is_right.cache_clear()
    yield lambda: packed_attention._is_right(CPU, torch.bfloat16, 4, 2, 16, None)
    packed_attention._is_right.cache_clear()


def test_kernels_that_are_not_there_are_done_without(trial, caplog, monkeypatch):
    def forward(*_):
        raise RuntimeError("no kernel image is available for execution on the device")

    monkeypatch.setattr(FusedAttention, "forward", forward)
    assert not trial()
    assert "no kernel image" in caplog.text


@pytest.mark.parametrize(("wrong", "is_right"), [(0.0, True), (0.1, False), (torch.nan, False)])
def test_kernels_that_compute_something_else_are_done_without(trial, caplog, monkeypatch, wrong, is_right):
    # In the kernels' place, the right numbers and, after them, others.
    def forward(self, layer, how, all_TLK, heads):
        return MaskedAttention(self.borders).forward(layer, how, all_TLK, heads)

    def backward(self, kept, slope_THK):
        return MaskedAttention(self.borders).backward(kept, slope_THK) * (1 + wrong)

    monkeypatch.setattr(FusedAttention, "forward", forward)
    monkeypatch.setattr(FusedAttention, "backward", backward)
    assert trial() == is_right
    assert bool(caplog.records) != is_right
