import torch
from torch.nn.functional import log_softmax

from rendering import row_of
from tiny_models import trained_looking
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.conversation import Conversation
from tuningfork.modeling.attention.plans import PackedPlan
from tuningfork.training.batches import OwnedSegment, Segment, pack
from tuningfork.training.loss import decoder_layers, recomputed, target_losses

EXAMPLES = [
    Conversation.pair("one", "two"),
    Conversation.pair("12", "13"),
    Conversation.pair("the first question", "the answer"),
]


def packed(base):
    segments = [Segment.of(row_of(base.chat, example)) for example in EXAMPLES]
    return pack([OwnedSegment(segment=segment, owner=0) for segment in segments])


@torch.no_grad()
def test_each_target_costs_minus_its_log_probability_given_all_before_it(loaded_tiny):
    losses = iter(target_losses(loaded_tiny.model, packed(loaded_tiny)))
    for example in EXAMPLES:
        rendered = row_of(loaded_tiny.chat, example)
        ids = [*rendered.header, *rendered.output]
        one = pack([OwnedSegment(segment=Segment(torch.tensor(ids, dtype=torch.int32), ((1, len(ids)),)), owner=0)])
        every_N = target_losses(loaded_tiny.model, one)
        for place in range(len(rendered.header), len(ids)):
            torch.testing.assert_close(next(losses), every_N[place - 1], rtol=1e-5, atol=1e-5)
    assert next(losses, None) is None


@torch.no_grad()
def test_losses_are_in_nats(loaded_tiny):
    one = packed(loaded_tiny)
    every_1TV = loaded_tiny.model(
        input_ids=one.ids_T[None, : one.lengths[0]],
        position_ids=one.positions_T[None, : one.lengths[0]],
        use_cache=False,
        attention_plan=PackedPlan(one.lengths[:1]),
    ).logits
    first = log_softmax(every_1TV[0, one.predicting_N[0]], dim=-1)[one.targets_N[0]]
    torch.testing.assert_close(target_losses(loaded_tiny.model, one)[0], -first)


def test_layers_that_are_computed_again_give_the_same_gradient(loaded_tiny):
    slots = loaded_tiny.slots
    slot = slots.load(trained_looking(slots, AdapterShape(rank=4, alpha=8.0), seed=1), trainable=True)
    gradients_P = slots.trainable(slot).gradients_P
    layers = decoder_layers(loaded_tiny.model)
    with slots.routed(slot):
        plain = target_losses(loaded_tiny.model, packed(loaded_tiny))
        plain.sum().backward()
        wanted = gradients_P.clone()
        gradients_P.zero_()
        with recomputed(layers):
            again = target_losses(loaded_tiny.model, packed(loaded_tiny))
            again.sum().backward()
    assert torch.equal(again, plain)
    assert torch.equal(gradients_P, wanted)
    assert wanted.any()


def test_layers_compute_once_again_after_the_block(loaded_tiny):
    layers = decoder_layers(loaded_tiny.model)
    methods = [layer.forward for layer in layers]
    with recomputed(layers):
        assert all(layer.forward != method for layer, method in zip(layers, methods, strict=True))
    assert [layer.forward for layer in layers] == methods


def test_the_blocks_of_the_model_are_found(loaded_tiny):
    layers = decoder_layers(loaded_tiny.model)
    assert len(layers) == loaded_tiny.model.config.num_hidden_layers
    assert all("DecoderLayer" in type(layer).__name__ for layer in layers)
