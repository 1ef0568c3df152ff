import dataclasses
import gc
import json
import shutil
import weakref
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3Config

from families import FAMILIES
from family_models import save_family
from tiny_models import tiny_base_model
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.errors import BaseUnusable, InvalidArgument
from tuningfork.inference.kv_cache import probed_shapes
from tuningfork.modeling.device.available_memory import Memory, available_memory
from tuningfork.modeling.files.skeleton import read_config, skeleton
from tuningfork.modeling.loading import load_base
from tuningfork.modeling.memory_plan import (
    Footprint,
    MemoryShort,
    WeightCopies,
    cache_bytes,
    check_adapter_fits,
    footprint,
    pass_bytes,
    plan,
    plan_loading,
    shortage,
    trained_adapter_bytes,
    weight_copies,
)

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
GIB = 2**30

COST = Footprint(
    parameters=1_000_000,
    buffers=100,
    linears=700_000,
    head=200_000,
    cache_per_token=10,
    kept_per_token=40,
    hidden_per_token=8,
    adapter_numbers=1_000,
    layers=4,
    vocabulary=50,
    itemsize=2,
)
NEEDED = plan(COST, rank=2).needed


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory) -> Path:
    return save_family(request.param, tmp_path_factory.mktemp("families") / request.param)


def own_memory(free_bytes: int) -> Memory:
    """Of so large a machine that the reserve is 1 GiB."""
    return Memory(2**60, free_bytes + GIB, "this machine")


def held(tensors) -> int:
    """Bytes of tensors, each storage once."""
    return sum({tensor.data_ptr(): tensor.numel() * tensor.element_size() for tensor in tensors}.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_planned_weights_are_those_of_the_loaded_model_to_the_byte(family, dtype):
    model = AutoModelForCausalLM.from_pretrained(family, dtype=dtype)

    cost = footprint(skeleton(read_config(str(family)), dtype))

    assert cost.parameters == held(model.parameters())
    assert cost.buffers == sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())


def test_a_tied_head_is_counted_once():
    shape = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 1000}
    tied, untied = (
        footprint(skeleton(Qwen3Config(**shape, tie_word_embeddings=tie), torch.bfloat16)) for tie in (True, False)
    )

    assert untied.parameters - tied.parameters == 1000 * 64 * 2
    assert tied.head == untied.head == 1000 * 64 * 2


def test_a_model_of_any_size_is_counted_without_its_weights():
    # Llama 3.1 70B's shape, whose size is published: 70.6 billion parameters.
    config = LlamaConfig(
        hidden_size=8192,
        intermediate_size=28672,
        num_hidden_layers=80,
        num_attention_heads=64,
        num_key_value_heads=8,
        vocab_size=128256,
    )

    cost = footprint(skeleton(config, torch.bfloat16))

    assert cost.parameters == 2 * 70_553_706_496
    assert cost.cache_per_token == 80 * 2 * 8 * 128 * 2


def test_layers_and_cache_are_counted_as_the_engines_find_them(family):
    base = load_base(
        dataclasses.replace(tiny_base_model("llama", family), name="models/any"),
        dtype=torch.float32,
    )

    cost = footprint(skeleton(read_config(str(family)), torch.float32))

    layers = base.slots.layers.values()
    assert cost.linears == sum(layer.in_features * layer.out_features * 4 for layer in layers)
    fresh = base.slots.fresh(AdapterShape(rank=1, alpha=1.0), seed=0)
    assert cost.adapter_numbers == sum(tensor.numel() for tensor in fresh.tensors.values())
    shapes = probed_shapes(base.model).values()
    assert cost.cache_per_token == sum(each.heads * (each.key_size + each.value_size) * 4 for each in shapes)


def test_what_serves_or_trains_is_the_larger_of_the_two():
    needs = plan(COST, rank=2)

    assert needs.cache == 2048 * 10 + 2 * 1_000 * 2
    assert needs.job == 2 * 1_000 * (5 * 4 + 2 * 2) + 2048 * (8 + 10) + 512 * 50 * (3 * 4 + 2)
    assert needs.needed == 1_000_100 + needs.job


def test_copies_are_of_the_linear_layers_alone():
    assert plan(COST, rank=2, copies=2).needed == NEEDED + 2 * 700_000


def test_what_fits_is_not_refused():
    assert shortage(plan(COST, rank=2), own_memory(NEEDED), torch.bfloat16) is None


def test_a_machine_with_too_little_memory_is_told_both_figures_and_what_to_do():
    needs = plan(dataclasses.replace(COST, parameters=6 * GIB), rank=2)

    told = shortage(needs, Memory(8 * GIB, 4 * GIB, "this machine"), torch.bfloat16)

    assert "needs 6.0 GiB of memory (6.0 GiB for its weights in bfloat16" in told
    assert "3.5 GiB can be had" in told
    assert "of the 8.0 GiB of this machine, 4.0 GiB are free" in told
    assert "smaller base" in told


@pytest.mark.parametrize(
    ("spare", "copies"),
    [(-1, 0), (0, 0), (899_999, 0), (900_000, 1), (1_799_999, 1), (1_800_000, 2), (10_000_000, 2)],
)
def test_copies_for_speed_are_made_of_what_two_processes_leave(spare, copies):
    found = weight_copies(COST, own_memory(2 * NEEDED + spare), rank=2)

    assert found == WeightCopies(copies)
    assert (found.prepacked, found.transposed) == (copies >= 1, copies >= 2)


def test_where_nothing_is_known_there_are_no_luxuries():
    assert weight_copies(COST, None, rank=2) == WeightCopies(0)


def test_a_pass_and_a_cache_take_their_share_of_what_is_free():
    roomy, narrow = Memory(64 * GIB, 60 * GIB, ""), Memory(64 * GIB, 4 * GIB, "")

    assert (pass_bytes(roomy), pass_bytes(narrow), pass_bytes(None)) == (8 * GIB, 3 * GIB // 2, GIB)
    assert (cache_bytes(roomy, CPU), cache_bytes(narrow, CPU)) == (2 * GIB, 3 * GIB // 4)
    assert (cache_bytes(roomy, GPU), cache_bytes(narrow, GPU)) == (59 * GIB // 2, 3 * GIB // 2)


def test_a_base_that_no_machine_holds_is_refused_before_its_weights_are_read(tiny_llama, tmp_path):
    directory = shutil.copytree(tiny_llama.location, tmp_path / "model")
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"hidden_size": 2**20, "intermediate_size": 2**24}))
    # Reading them would be another error.
    (directory / "model.safetensors").write_bytes(b"")

    with pytest.raises(BaseUnusable, match=r"models/tiny-llama .* needs [\d.]+ GiB of memory .*[\d.]+ GiB can be had"):
        load_base(dataclasses.replace(tiny_llama, location=str(directory)))


def test_a_base_that_fits_leaves_room_for_luxuries(tiny_llama):
    expected = weight_copies(
        footprint(skeleton(read_config(tiny_llama.location), torch.float32)),
        available_memory(CPU),
        rank=tiny_llama.adapter.rank,
    )

    assert load_base(tiny_llama, dtype=torch.float32).weight_copies == expected == WeightCopies(2)


@pytest.mark.parametrize("change", [{"model_type": "nobody's"}, {"quantization_config": {"quant_method": "fp8"}}])
def test_what_cannot_be_planned_is_left_to_loading(tiny_llama, tmp_path, change):
    config = json.loads((Path(tiny_llama.location) / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))

    found = plan_loading(str(tmp_path), revision=None, rank=8, dtype=torch.bfloat16, device=CPU)

    assert (found.shortage, found.weight_copies) == (None, WeightCopies(0))


def test_what_a_base_given_up_still_holds_is_freed_before_anything_is_refused(tiny_llama):
    class Held:
        """In a cycle, as layers and what routes them are."""

        def __init__(self):
            self.itself = self

    held = weakref.ref(Held())

    def measure(_device):
        return Memory(2**60, 0 if held() else 2**60, "this machine")

    gc.disable()
    try:
        found = plan_loading(
            tiny_llama.location, revision=None, rank=8, dtype=torch.float32, device=CPU, measure=measure
        )
    finally:
        gc.enable()

    assert (found.shortage, found.weight_copies) == (None, WeightCopies(2))


def test_weights_that_change_their_type_on_the_way_to_a_gpu_need_the_machines_memory_too(tiny_llama):
    def measure(device):
        return Memory(2**60, 0, "this machine") if device.type == "cpu" else Memory(2**60, 2**60, "the GPU")

    told = {
        dtype: plan_loading(
            tiny_llama.location, revision=None, rank=8, dtype=dtype, device=GPU, measure=measure
        ).shortage
        for dtype in (torch.float32, torch.bfloat16)
    }

    # Stored in fp32: from the file to the GPU they take nothing.
    assert told[torch.float32] is None
    assert "this machine" in told[torch.bfloat16]


def test_an_adapter_takes_what_a_job_of_its_rank_is_planned_to_take():
    of_two, of_five = (plan(COST, rank=rank).job for rank in (2, 5))

    assert trained_adapter_bytes(COST.adapter_numbers, rank=3, itemsize=COST.itemsize) == of_five - of_two


def test_an_adapter_for_which_too_little_memory_is_free_is_not_begun():
    layers = [torch.nn.Linear(300, 700), torch.nn.Linear(1_000, 2_000)]
    needed = trained_adapter_bytes(4_000, rank=256, itemsize=2)

    check_adapter_fits(layers, own_memory(needed), rank=256, itemsize=2)
    check_adapter_fits(layers, None, rank=256, itemsize=2)
    with pytest.raises(MemoryShort, match=r"an adapter of rank 256 takes 23 MiB .* 23 MiB can be had at the moment"):
        check_adapter_fits(layers, own_memory(needed - 1), rank=256, itemsize=2)


def test_only_an_adapter_for_which_the_machine_is_too_small_is_refused_for_good():
    layers = [torch.nn.Linear(300, 700, dtype=torch.bfloat16), torch.nn.Linear(1_000, 2_000, dtype=torch.bfloat16)]
    beside_base = trained_adapter_bytes(4_000, rank=256, itemsize=2) + 2 * (300 * 700 + 1_000 * 2_000)
    # One part in 16 of a machine is its reserve.
    enough = Memory(-(-beside_base * 16 // 15), 0, "this machine")

    with pytest.raises(MemoryShort):
        check_adapter_fits(layers, enough, rank=256, itemsize=2)
    with pytest.raises(InvalidArgument, match=r"this machine has at most 23 MiB .* tune with a lower rank"):
        check_adapter_fits(
            layers, dataclasses.replace(enough, total_bytes=enough.total_bytes - 2), rank=256, itemsize=2
        )


def test_weights_that_stay_in_two_bytes_leave_the_rest_of_four_to_an_adapter_in_fp32():
    layers = [torch.nn.Linear(1_000, 2_000, dtype=torch.bfloat16)]
    beside_base = trained_adapter_bytes(3_000, rank=8, itemsize=4) + 2 * 1_000 * 2_000
    enough = Memory(-(-beside_base * 16 // 15), 0, "this machine")

    with pytest.raises(MemoryShort):
        check_adapter_fits(layers, enough, rank=8, itemsize=4)
    with pytest.raises(InvalidArgument):
        check_adapter_fits(layers, dataclasses.replace(enough, total_bytes=enough.total_bytes - 2), rank=8, itemsize=4)


def test_weights_that_are_fused_are_held_by_the_trainer_and_by_the_generator():
    fused = torch.nn.Parameter(torch.zeros(3_000, 1_000))
    layers = [torch.nn.Linear(1_000, size) for size in (1_000, 2_000)]
    for layer, rows in zip(layers, (slice(0, 1_000), slice(1_000, None)), strict=True):
        layer.weight = torch.nn.Parameter(fused.detach()[rows])
    beside_base = trained_adapter_bytes(5_000, rank=8, itemsize=4) + 2 * 4 * 3_000 * 1_000
    enough = Memory(-(-beside_base * 16 // 15), 0, "this machine")

    with pytest.raises(MemoryShort):
        check_adapter_fits(layers, enough, rank=8, itemsize=4)
    with pytest.raises(InvalidArgument):
        check_adapter_fits(layers, dataclasses.replace(enough, total_bytes=enough.total_bytes - 2), rank=8, itemsize=4)


def test_weights_that_were_converted_are_held_by_the_trainer_and_by_the_generator():
    layers = [torch.nn.Linear(1_000, 2_000)]
    beside_base = trained_adapter_bytes(3_000, rank=8, itemsize=4) + 2 * 4 * 2_000 * 1_000
    enough = Memory(-(-beside_base * 16 // 15), 0, "this machine")
    less = dataclasses.replace(enough, total_bytes=enough.total_bytes - 2)

    for memory in (enough, less):
        # Mapped weights would leave room in both.
        with pytest.raises(MemoryShort):
            check_adapter_fits(layers, memory, rank=8, itemsize=4)
    with pytest.raises(MemoryShort):
        check_adapter_fits(layers, enough, rank=8, itemsize=4, converted=True)
    with pytest.raises(InvalidArgument):
        check_adapter_fits(layers, less, rank=8, itemsize=4, converted=True)


def test_a_base_knows_whether_its_weights_were_converted(tiny_llama):
    assert not load_base(tiny_llama, dtype=torch.float32).converted
    assert load_base(tiny_llama, dtype=torch.bfloat16).converted


def test_the_layers_of_a_base_are_counted_as_it_holds_them(tiny_llama):
    """Fused where torch computes; as they are stored, once, where compiled products read them."""
    base = load_base(tiny_llama, dtype=torch.float32)
    compiled = base.decoder.layers[0].query_key_value.frozen.stored is not None
    layers = [*base.slots.layers.values()]
    stored = sum(layer.weight.numel() * layer.weight.element_size() for layer in layers)
    apart = {"o_proj", "down_proj"}
    alone = sum(
        layer.weight.numel() * layer.weight.element_size()
        for name, layer in base.slots.layers.items()
        if name.rpartition(".")[2] in apart
    )
    held = stored if compiled else 2 * stored - alone
    features = sum(layer.in_features + layer.out_features for layer in layers)
    needed = trained_adapter_bytes(features, rank=8, itemsize=4) + held
    enough = Memory(-(-needed * 16 // 15), 0, "this machine")

    with pytest.raises(MemoryShort):
        check_adapter_fits(layers, enough, rank=8, itemsize=4)
    with pytest.raises(InvalidArgument):
        check_adapter_fits(layers, dataclasses.replace(enough, total_bytes=enough.total_bytes - 2), rank=8, itemsize=4)
