import pytest
import torch

from tuningfork.modeling.attention.plans import PackedPlan
from tuningfork.training.attention.padded import PaddedPlan, plan_of

CPU = torch.device("cpu")
LENGTHS = (5, 1, 12, 7)


def tensors(dtype=torch.float64):
    draw = torch.Generator().manual_seed(0)
    heads = (4, 2, 2)
    return [
        torch.randn(count, sum(LENGTHS), 8, generator=draw, dtype=torch.float64).to(dtype).requires_grad_()
        for count in heads
    ]


@pytest.mark.parametrize("sliding_window", [None, 1, 4, 100])
@pytest.mark.parametrize("softcap", [None, 0.7])
def test_it_attends_as_each_segment_would_alone(sliding_window, softcap):
    how = {"scaling": 0.3, "sliding_window": sliding_window, "softcap": softcap}
    ours, theirs = tensors(), tensors()
    padded_THK = PaddedPlan.of(LENGTHS, CPU).attend(0, *ours, **how)
    packed_THK = PackedPlan(LENGTHS).attend(0, *theirs, **how)
    # Soft-capped scores are taken in fp32 by the other plan.
    exactness = {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(padded_THK, packed_THK, **exactness)
    grad_THK = torch.randn(padded_THK.shape, generator=torch.Generator().manual_seed(1), dtype=padded_THK.dtype)
    padded_THK.backward(grad_THK)
    packed_THK.backward(grad_THK)
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our.grad, their.grad, **exactness)


@pytest.mark.parametrize(
    ("lengths", "padded"),
    [
        ((30, 40, 25, 50), True),
        ((64, 1, 1, 1), True),
        ((256, 200, 130), True),
        ((256, 20, 20, 20), False),
        ((257, 250), False),
        ((100_000,), False),
    ],
)
def test_short_segments_of_like_lengths_are_padded(lengths, padded):
    assert isinstance(plan_of(lengths, CPU), PaddedPlan if padded else PackedPlan)
