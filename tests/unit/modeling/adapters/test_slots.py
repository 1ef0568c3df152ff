import math

import pytest
import torch
from torch import nn

from tiny_models import packed_logits, trained_looking
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.errors import InvalidArgument
from tuningfork.modeling.adapters.slot_layers import SlotLinear
from tuningfork.modeling.adapters.slots import BASE_ALONE
from tuningfork.modeling.adapters.weights import AdapterWeights
from tuningfork.modeling.attention.plans import PackedPlan
from tuningfork.training.attention.segments import SegmentAttention

SHAPE = AdapterShape(rank=4, alpha=8.0)
TEXT = [5, 6, 7, 8, 9]


def test_the_linear_layers_of_every_block_get_slots_and_the_head_does_not(loaded_tiny):
    names = [name.rpartition(".")[2] for name in loaded_tiny.slots.layers]
    block = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    assert names == block * loaded_tiny.model.config.num_hidden_layers
    assert not isinstance(loaded_tiny.model.get_output_embeddings(), SlotLinear)


def test_the_base_is_frozen_and_keeps_its_names(loaded_llama):
    parameters = dict(loaded_llama.model.named_parameters())
    assert not any(parameter.requires_grad for parameter in parameters.values())
    assert "model.layers.0.self_attn.q_proj.weight" in parameters
    assert not any("lora" in name for name in parameters)


def test_a_fresh_adapter_is_drawn_as_peft_draws_it(loaded_llama):
    weights = loaded_llama.slots.fresh(AdapterShape(rank=64, alpha=8.0), seed=3)
    for name, tensor in weights.tensors.items():
        if "lora_B" in name:
            assert not tensor.any()
        else:
            bound = 1 / math.sqrt(tensor.shape[1])
            assert tensor.abs().max() <= bound
            assert tensor.std() == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_the_seed_decides_the_fresh_adapter(loaded_llama):
    first, same, other = (loaded_llama.slots.flatten(loaded_llama.slots.fresh(SHAPE, seed)) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_drawing_an_adapter_leaves_the_global_random_numbers_alone(loaded_llama):
    before = torch.get_rng_state()
    loaded_llama.slots.fresh(SHAPE, seed=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_adapter_survives_being_flattened(loaded_llama):
    slots = loaded_llama.slots
    weights = trained_looking(slots, SHAPE, seed=5)
    again = slots.unflatten(SHAPE, slots.flatten(weights))
    assert again.shape == SHAPE
    assert again.tensors.keys() == weights.tensors.keys()
    assert all(torch.equal(again.tensors[name], tensor) for name, tensor in weights.tensors.items())


def test_slots_are_numbered_from_zero_and_a_free_one_is_used_again(loaded_llama):
    slots = loaded_llama.slots
    weights = slots.fresh(SHAPE, seed=0)
    assert [slots.load(weights) for _ in range(3)] == [0, 1, 2]
    slots.unload(1)
    assert slots.load(weights) == 1


def test_an_adapter_in_a_slot_that_is_used_again_is_of_another_generation(loaded_llama):
    slots = loaded_llama.slots
    weights = slots.fresh(AdapterShape(rank=2, alpha=4), seed=1)
    found = [slots.generation(BASE_ALONE)]
    for _ in range(3):
        slot = slots.load(weights)
        assert slots.generation(slot) == slots.generation(slot)
        found.append(slots.generation(slot))
        slots.unload(slot)
        assert slot == 0
    assert len(set(found)) == 4


def test_a_slot_that_is_used_again_holds_its_new_adapter_in_mixed_rows_too(loaded_llama):
    slots = loaded_llama.slots
    kept = slots.load(trained_looking(slots, SHAPE, seed=1))
    slot = slots.load(trained_looking(slots, SHAPE, seed=2))
    with torch.no_grad():
        packed_logits(loaded_llama, [TEXT, TEXT], [kept, slot])
        slots.unload(slot)
        assert slots.load(trained_looking(slots, SHAPE, seed=3)) == slot
        alone = packed_logits(loaded_llama, [TEXT], slot)[0]
        mixed = packed_logits(loaded_llama, [TEXT, TEXT], [kept, slot])[1]
    torch.testing.assert_close(mixed, alone)


def test_routes_nest_and_end_with_their_block(loaded_llama):
    slots = loaded_llama.slots
    slot = slots.load(trained_looking(slots, SHAPE, seed=1))
    with torch.no_grad():
        base = packed_logits(loaded_llama, [TEXT], None)[0]
        with slots.routed(slot):
            inner = packed_logits(loaded_llama, [TEXT], None)[0]
        after = packed_logits(loaded_llama, [TEXT], -1)[0]
        tuned = packed_logits(loaded_llama, [TEXT], slot)[0]
    assert torch.equal(inner, base)
    assert torch.equal(after, base)
    assert not torch.allclose(tuned, base)


def test_layers_that_an_adapter_leaves_out_stay_the_bases_own(loaded_llama):
    slots = loaded_llama.slots
    whole = trained_looking(slots, SHAPE, seed=1)
    part = AdapterWeights(SHAPE, {name: tensor for name, tensor in whole.tensors.items() if "q_proj" in name})
    zeroed = AdapterWeights(
        SHAPE, {name: tensor if "q_proj" in name else 0 * tensor for name, tensor in whole.tensors.items()}
    )
    part_slot, zeroed_slot = slots.load(part), slots.load(zeroed)
    with torch.no_grad():
        assert torch.equal(
            packed_logits(loaded_llama, [TEXT], part_slot)[0], packed_logits(loaded_llama, [TEXT], zeroed_slot)[0]
        )


def test_an_adapter_of_another_base_is_refused(loaded_llama):
    slots = loaded_llama.slots
    name, _ = next(iter(slots.fresh(SHAPE, seed=0).tensors.items()))
    with pytest.raises(InvalidArgument, match=r"q_proj.lora_A.weight is \(4, 7\), the base's layer wants \(4, 32\)"):
        slots.load(AdapterWeights(SHAPE, {name: torch.zeros(4, 7)}))
    with pytest.raises(InvalidArgument, match="1 tensors for which the base has no adapted layer, such as elsewhere"):
        slots.load(AdapterWeights(SHAPE, {"elsewhere.lora_A.weight": torch.zeros(4, 7)}))


def test_a_trainable_slot_gathers_its_gradients_in_one_vector(loaded_llama):
    slots = loaded_llama.slots
    slot = slots.load(trained_looking(slots, SHAPE, seed=1), trainable=True)
    adapter = slots.trainable(slot)
    _go_through(loaded_llama, slot)
    once = adapter.gradients_P.clone()
    assert once.count_nonzero() > 0.9 * once.numel()
    _go_through(loaded_llama, slot)
    torch.testing.assert_close(adapter.gradients_P, 2 * once)


def test_autograd_over_transformers_code_finds_the_same_gradients(loaded_llama):
    slots = loaded_llama.slots
    weights = trained_looking(slots, SHAPE, seed=1)
    ours, theirs = (slots.load(weights, trainable=True) for _ in range(2))
    _go_through(loaded_llama, ours)
    with slots.routed(theirs):
        logits_1TV = loaded_llama.model(
            input_ids=torch.tensor([TEXT]), use_cache=False, attention_plan=PackedPlan((len(TEXT),))
        ).logits
    logits_1TV.logsumexp(-1).sum().backward()
    torch.testing.assert_close(slots.trainable(ours).gradients_P, slots.trainable(theirs).gradients_P)


def _go_through(base, slot):
    """Forwards and, with the gradient of the sum of all log-sum-exps, backwards."""
    count = len(TEXT)
    attention = SegmentAttention.of([count], base.device)
    trace = base.decoder.trace(torch.tensor(TEXT), torch.arange(count), torch.arange(count), attention, slot)
    trace.backward(torch.softmax(trace.logits_NV, dim=-1))


def test_writing_to_a_trainable_slots_vector_changes_the_adapter(loaded_llama):
    slots = loaded_llama.slots
    weights = trained_looking(slots, SHAPE, seed=1)
    trained = slots.load(slots.fresh(SHAPE, seed=9), trainable=True)
    slots.trainable(trained).weights_P.copy_(slots.flatten(weights))
    served = slots.load(weights)
    with torch.no_grad():
        # Tables hold the same numbers in another order than flat vectors, and sums are taken in another.
        torch.testing.assert_close(
            packed_logits(loaded_llama, [TEXT], trained)[0],
            packed_logits(loaded_llama, [TEXT], served)[0],
            rtol=1e-5,
            atol=1e-5,
        )


def test_a_slot_for_serving_cannot_be_trained(loaded_llama):
    slot = loaded_llama.slots.load(loaded_llama.slots.fresh(SHAPE, seed=0))
    with pytest.raises(ValueError, match="load it with trainable=True"):
        loaded_llama.slots.trainable(slot)


def test_the_layer_computes_its_equation(loaded_llama):
    slots = loaded_llama.slots
    weights = trained_looking(slots, SHAPE, seed=1)
    slot = slots.load(weights)
    name, layer = next(iter(slots.layers.items()))
    x_TD = torch.randn(3, layer.in_features, generator=torch.Generator().manual_seed(0))
    a_RD, b_OR = weights.tensors[f"{name}.lora_A.weight"], weights.tensors[f"{name}.lora_B.weight"]
    with slots.routed(slot), torch.no_grad():
        y_TO = layer(x_TD)
    torch.testing.assert_close(y_TO, x_TD @ layer.weight.T + (8.0 / 4) * x_TD @ a_RD.T @ b_OR.T)


def test_a_layer_with_a_bias_keeps_it(loaded_llama):
    linear = nn.Linear(3, 2)
    layer = SlotLinear(linear, loaded_llama.slots._routing)
    x_TD = torch.randn(4, 3)
    assert torch.equal(layer(x_TD), linear(x_TD))
