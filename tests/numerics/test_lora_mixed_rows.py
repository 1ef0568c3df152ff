"""Adapters of different ranks and the base side by side in one packed row: each text gets what it would get alone."""

import pytest
import torch

import precisions
from tiny_models import packed_logits, trained_looking
from tuningfork.domain.base_model import AdapterShape
from tuningfork.modeling.adapters.slots import BASE_ALONE
from tuningfork.modeling.loading import load_base

SHAPES = [AdapterShape(rank=1, alpha=2.0), AdapterShape(rank=4, alpha=16.0), AdapterShape(rank=16, alpha=12.0)]
TEXTS = [[1, 2, 3], [4, 5, 6, 7, 8, 9], [10], list(range(20, 60)), [4, 5, 6, 7, 8, 9]]


@pytest.fixture
def slots(loaded_tiny):
    return [
        loaded_tiny.slots.load(trained_looking(loaded_tiny.slots, shape, seed=seed))
        for seed, shape in enumerate(SHAPES)
    ]


@torch.no_grad()
def test_each_text_gets_the_logits_it_would_get_alone(loaded_tiny, slots):
    chosen = [slots[2], slots[0], BASE_ALONE, slots[1], slots[2]]
    mixed = packed_logits(loaded_tiny, TEXTS, chosen)
    alone = [packed_logits(loaded_tiny, [text], slot)[0] for text, slot in zip(TEXTS, chosen, strict=True)]
    for mixed_TV, alone_TV in zip(mixed, alone, strict=True):
        torch.testing.assert_close(mixed_TV, alone_TV, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(mixed[1], mixed[4], atol=0.01)


@torch.no_grad()
def test_neighbouring_tokens_of_one_text_may_use_different_slots(loaded_tiny, slots):
    layer = next(iter(loaded_tiny.slots.layers.values()))
    x_TD = torch.randn(4, layer.in_features, generator=torch.Generator().manual_seed(0))
    chosen = [slots[1], BASE_ALONE, slots[0], slots[1]]
    with loaded_tiny.slots.routed(chosen):
        mixed_TO = layer(x_TD)
    for row, slot in enumerate(chosen):
        with loaded_tiny.slots.routed(slot):
            torch.testing.assert_close(mixed_TO[row], layer(x_TD)[row])


@pytest.mark.parametrize("dtype", precisions.BOTH)
@torch.no_grad()
def test_a_fresh_adapter_is_the_identity(tiny_base, dtype):
    base = load_base(tiny_base, dtype=dtype)
    slot = base.slots.load(base.slots.fresh(AdapterShape(rank=8, alpha=32.0), seed=1))
    text = list(range(30))
    assert torch.equal(packed_logits(base, [text], slot)[0], packed_logits(base, [text], None)[0])
