"""No pass mixes devices or asks a device for a number: shown without a GPU, on torch's device that computes nothing.

Tensors on `meta` have shapes and no numbers. What lies on a GPU in earnest lies there, what lies on the CPU is real.
Reading a number from `meta`, or a shape that depends on one, is an error, as it would be a wait on a GPU; operations
that take tensors of both, which meta's own kernels let pass, are looked for here. Sums of table rows take the path for
GPUs, since they do on every device but the CPU.
"""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForCausalLM

from families import FAMILIES, LAYERS, family_config
from tuningfork.domain.base_model import AdapterShape
from tuningfork.inference.cached_plan import CachedPlan, Span
from tuningfork.inference.graphs import DecodeGraphs
from tuningfork.inference.kv_cache import KvCache, probed_shapes
from tuningfork.modeling.adapters.slots import BASE_ALONE, AdapterSlots
from tuningfork.modeling.adapters.weights import AdapterWeights
from tuningfork.modeling.attention.plans import AttentionParameters
from tuningfork.modeling.attention.registration import ATTENTION
from tuningfork.modeling.decoder.recipe import decoder_of
from tuningfork.modeling.device.capture import reexecution
from tuningfork.modeling.kernels.plain import PLAIN
from tuningfork.modeling.loading import LoadedBase
from tuningfork.training.attention.packed_attention import Borders, FusedAttention
from tuningfork.training.attention.segments import SegmentAttention
from tuningfork.training.batches import OwnedSegment, Segment, pack
from tuningfork.training.graphs import Buffers, Needed, PassGraphs
from tuningfork.training.objectives import LossWeights
from tuningfork.training.passes import forward_backward

pytestmark = pytest.mark.slow

DEVICE = torch.device("meta")
COPIES = {"aten.copy_.default", "aten._to_copy.default", "aten.to.dtype_layout", "aten.to.device"}
OURS = sorted(set(FAMILIES) - {"phi", "gemma3-with-vision"})
"""Those whose forward pass is written out."""


class Crossings(TorchDispatchMode):
    """Notes operations on tensors of two devices; all but copies to the device are errors."""

    def __init__(self) -> None:
        super().__init__()
        self.copies = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        result = func(*args, **(kwargs or {}))
        made = [each for each in tree_leaves(result) if isinstance(each, torch.Tensor)]
        devices = {each.device for each in (*given, *made)}
        if len(devices) > 1:
            assert str(func) in COPIES, f"{func} of tensors on {devices}"
            assert all(each.device == DEVICE for each in made), f"{func} brings numbers back"
            self.copies += 1
        return result


@dataclass
class _Probe:
    parameters: dict[int, AttentionParameters]

    def attend(self, layer, query_HTK, _key, _value, **parameters):
        self.parameters[layer] = AttentionParameters(**parameters)
        return query_HTK.transpose(0, 1)


@pytest.fixture(params=OURS)
def base(request) -> LoadedBase:
    with DEVICE:
        model = AutoModelForCausalLM.from_config(
            family_config(request.param, 300), dtype=torch.bfloat16, attn_implementation=ATTENTION
        )
    slots, probe = AdapterSlots.attach(model.eval()), _Probe({})
    token_11 = torch.zeros((1, 1), dtype=torch.long, device=DEVICE)
    model(input_ids=token_11, position_ids=token_11, use_cache=False, attention_plan=probe)
    decoder = decoder_of(model, slots, [probe.parameters[layer] for layer in range(LAYERS)], PLAIN.layers)
    assert decoder is not None
    return LoadedBase(
        location=request.param,
        model=model,
        chat=None,
        device=DEVICE,
        dtype=torch.bfloat16,
        context_tokens=512,
        slots=slots,
        decoder=decoder,
    )


def loaded(base: LoadedBase, rank: int, *, trainable: bool = False) -> int:
    tensors = {}
    for name, layer in base.slots.layers.items():
        tensors[f"{name}.lora_A.weight"] = torch.zeros(rank, layer.in_features)
        tensors[f"{name}.lora_B.weight"] = torch.zeros(layer.out_features, rank)
    return base.slots.load(AdapterWeights(AdapterShape(rank=rank, alpha=8.0), tensors), trainable=trainable)


def cache_of(base: LoadedBase) -> KvCache:
    return KvCache(probed_shapes(base.model), pages=20, dtype=base.dtype, device=DEVICE)


def numbers(count: int) -> torch.Tensor:
    return torch.zeros(count, dtype=torch.long, device=DEVICE)


SPANS = [Span([1], 0, 20), Span([2, 3], 40, 44), Span([4, 5], 40, 41), Span([6], 3, 4), Span([7], 3, 4)]


@torch.inference_mode()
def test_a_step_of_prompts_and_tokens_on_adapters_of_several_ranks(base):
    slots, cache = [loaded(base, 4), loaded(base, 4), loaded(base, 8)], cache_of(base)
    own = [slots[0]] * 20 + [slots[1]] * 4 + [slots[2], BASE_ALONE, slots[1]]
    with Crossings() as crossings:
        logits_NV = base.logits(
            numbers(27), numbers(27), torch.tensor([19, 23, 24, 25, 26]), CachedPlan(cache, SPANS), own
        )
    assert (logits_NV.device, logits_NV.shape) == (DEVICE, (5, 300))
    # What is kept, and which keys are hidden from rows that are looked at with and without a window: not one a layer.
    assert crossings.copies <= 3


@torch.inference_mode()
@pytest.mark.parametrize("ranks", [(), (4, 4, 4)], ids=["base", "adapters"])
def test_a_step_that_is_kept_hands_over_its_numbers_in_one_copy(base, ranks):
    cache, slots = cache_of(base), [loaded(base, rank) for rank in ranks] or [BASE_ALONE] * 3
    assert base.decoder is not None
    graphs = DecodeGraphs(base, base.decoder, cache, reexecution, trials=0)
    with Crossings() as crossings:
        logits_BV = graphs.logits([1, 2, 3], SPANS[2:], slots, lambda: pytest.fail("taken in the ordinary way"))
    assert (logits_BV.device, logits_BV.shape) == (DEVICE, (3, 300))
    assert crossings.copies == 1
    [graph] = graphs._graphs.values()
    with Crossings() as crossings:
        graph.operations()
    assert not crossings.copies


@torch.no_grad()
@pytest.mark.parametrize("keep", [True, False], ids=["kept", "computed_again"])
def test_a_training_pass_over_several_adapters_there_and_back(base, keep):
    slots = [loaded(base, 4, trainable=True), loaded(base, 8, trainable=True)]
    assert base.decoder is not None
    # Two short segments, one that the fused kernels take, and one that nobody learns from.
    lengths, own = (20, 30, 600, 10), [slots[0]] * 20 + [slots[1]] * 630 + [BASE_ALONE] * 10
    with Crossings() as crossings:
        attention = SegmentAttention.of(lengths, DEVICE)
        trace = base.decoder.trace(numbers(660), numbers(660), torch.arange(10, 25), attention, own, keep=keep)
        forwards = crossings.copies
        trace.backward(torch.zeros_like(trace.logits_NV))
    assert trace.logits_NV.shape == (15, 300)
    # The layout, and masks with and without a window: once a pass, not once a layer, and none on the way back.
    assert forwards <= 12
    assert crossings.copies == forwards


@pytest.mark.parametrize("keep", [True, False], ids=["kept", "computed_again"])
def test_a_pass_of_several_jobs_waits_for_its_losses_and_nothing_before(base, keep):
    slots = [loaded(base, rank, trainable=True) for rank in (4, 4, 4, 8)]
    segments = [
        Segment(torch.arange(length, dtype=torch.int32), ((length - 5, length),)) for length in (20, 30, 25, 18, 40)
    ]
    packed = pack(
        [OwnedSegment(segment=each, owner=owner) for each, owner in zip(segments, (0, 0, 1, 2, 3), strict=True)]
    )
    with Crossings() as crossings, pytest.raises(NotImplementedError) as found:
        forward_backward(base, packed, slots, LossWeights(fixed_N=torch.ones(len(packed.targets_N))), keep=keep)
    # The pass is a generator that `forward_backward` runs to its end: the innermost frame is the one that waits.
    *_, waits = (entry for entry in found.traceback if entry.path.name == "passes.py")
    assert "scores.on_cpu(" in str(waits.statement)
    assert crossings.copies <= 20


@torch.no_grad()
@pytest.mark.parametrize("ranks", [(4,), (4, 4, 8)], ids=["one_job", "three_jobs"])
def test_a_training_pass_that_is_kept_hands_over_its_numbers_in_two_copies(base, ranks):
    slots = [loaded(base, rank, trainable=True) for rank in ranks]
    assert base.decoder is not None
    segments = [Segment(torch.arange(length, dtype=torch.int32), ((length - 5, length),)) for length in (20, 31)]
    packed = pack([OwnedSegment(segment=each, owner=owner) for owner in range(len(slots)) for each in segments])
    graphs = PassGraphs(base, base.decoder, reexecution)
    weights = LossWeights(fixed_N=torch.ones(len(packed.targets_N)))
    needed = Needed.of(packed, [base.slots.shape_of(slot) for slot in slots], weights)
    sections = needed.sections(needed.shape)
    buffers = Buffers(needed.shape, base, base.decoder)
    with Crossings() as crossings:
        graphs._fill(buffers, packed, sections, slots, weights)
    assert crossings.copies == 2
    operations = graphs._operations(needed.shape, sections, buffers)
    with Crossings() as crossings:
        operations()
    assert not crossings.copies


def test_torchs_fused_attention_takes_and_gives_what_training_wants():
    attention = FusedAttention(Borders.of((20, 1, 13), DEVICE))
    all_TLK = torch.empty(34, 13, 64, dtype=torch.bfloat16, device=DEVICE)
    out_THK, kept = attention.forward(0, AttentionParameters(0.1, 20, None), all_TLK, 9)
    assert (out_THK.shape, out_THK.dtype) == ((34, 9, 64), torch.bfloat16)
    assert attention.backward(kept, out_THK).shape == all_TLK.shape


def test_an_operation_on_two_devices_is_found():
    with Crossings(), pytest.raises(AssertionError, match="mm"):
        torch.zeros(2, 2, device=DEVICE) @ torch.zeros(2, 2)
    with pytest.raises(RuntimeError):
        numbers(1).item()
    with pytest.raises(NotImplementedError):
        numbers(1).cpu()
