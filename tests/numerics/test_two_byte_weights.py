"""A base that computes in fp32 keeps weights that are stored in two bytes; its numbers are those of the widened ones.

The widened weights are saved in fp32 beside them, as a base of its own. Compiled products widen exactly and sum in one
order, so both bases compute the same bits.
"""

import dataclasses
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine_runs import answers_of, greedy, request
from family_models import FamilyModels, save_family
from tiny_models import packed_logits
from training_runs import curve, engine_over, job, run_to_the_end
from tuningfork.domain.base_model import AdapterShape
from tuningfork.modeling.compiled.proof import proven
from tuningfork.modeling.device.available_memory import Memory
from tuningfork.modeling.files.skeleton import read_config, skeleton
from tuningfork.modeling.memory_plan import footprint, plan, plan_loading

pytestmark = pytest.mark.skipif(proven() is None, reason="this installation has no compiled parts")
TWO_BYTES = [torch.bfloat16, torch.float16]
TEXTS = [
    torch.randint(0, 250, (length,), generator=torch.Generator().manual_seed(length)).tolist() for length in (7, 29)
]


def stored(family, directory, dtype):
    """The family's model, rounded to this type: stored in it, and stored in fp32."""
    found = []
    for name, in_file in (("narrow", dtype), ("wide", torch.float32)):
        shutil.copytree(family.directory, directory / name, ignore=shutil.ignore_patterns("adapters"))
        family.plain(dtype).to(in_file).save_pretrained(directory / name)
        found.append(FamilyModels(family.name, directory / name))
    return found


@pytest.fixture(params=TWO_BYTES, ids=["bf16", "fp16"])
def both(request, family, tmp_path):
    return stored(family, tmp_path, request.param)


@pytest.fixture
def llama(tmp_path):
    """One family, in bf16 and in fp32."""
    return stored(FamilyModels("smollm2", save_family("smollm2", tmp_path / "model")), tmp_path, torch.bfloat16)


def matrices(base):
    return [each for each in base.model.parameters() if each.dim() > 1]


def test_weights_keep_their_two_bytes_and_logits_are_those_of_the_widened_ones(both):
    narrow, wide = (each.fresh_base() for each in both)

    # A family that runs by transformers' code computes in the type of its weights.
    kept = torch.float32 if narrow.decoder is None else both[0].config.dtype
    assert {each.dtype for each in matrices(narrow)} == {kept}
    assert narrow.dtype == narrow.slots.dtype == torch.float32
    for ours, theirs in zip(packed_logits(narrow, TEXTS, None), packed_logits(wide, TEXTS, None), strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, theirs)


@torch.no_grad()
def test_transformers_own_code_computes_the_same_with_them(both):
    narrow = both[0].fresh_base()
    plain = both[1].plain()

    for text, ours_TV in zip(TEXTS, packed_logits(dataclasses.replace(narrow, decoder=None), TEXTS, None), strict=True):
        torch.testing.assert_close(ours_TV, plain(torch.tensor([text])).logits[0], rtol=0, atol=5e-5)


def test_training_and_answers_do_not_see_the_difference(llama):
    narrow, wide = (each.fresh_base() for each in llama)

    curves = [curve(run_to_the_end(each)) for each in map(engine_over, (narrow, wide)) if each.admit(job()) == 0]
    asked = [request(f"{size}", list(range(2, 2 + size)), sampling=greedy(12)) for size in (3, 9)]
    answers = [{key: answer.tokens for key, answer in answers_of(base, *asked).items()} for base in (narrow, wide)]

    assert len(curves[0]) > 1
    assert curves[0] == curves[1]
    assert answers[0] == answers[1]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_weights_stay_in_the_file_and_are_not_copied_to_be_fused(llama):
    base = llama[0].fresh_base()
    held = [
        tuple(int(part, 16) for part in line.split(maxsplit=1)[0].split("-"))
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith(str(llama[0].directory / "model.safetensors"))
    ]
    parts = [part for layer in base.decoder.layers for product in layer.products for part in product.frozen.parts]

    assert len(base.decoder.layers[0].query_key_value.frozen.parts) == 3
    for part in (*parts, *base.decoder.head.parts):
        assert any(begin <= part.data_ptr() < end for begin, end in held)


def test_weights_of_several_types_become_fp32(llama):
    file = llama[0].directory / "model.safetensors"
    tensors = load_file(file)
    name = next(name for name, each in tensors.items() if each.dim() == 1)
    save_file({**tensors, name: tensors[name].float() + 1e-6}, file, metadata={"format": "pt"})

    base = llama[0].fresh_base()

    assert {each.dtype for each in base.model.parameters()} == {torch.float32}
    # A number that two bytes cannot hold is still there.
    assert torch.equal(dict(base.model.named_parameters())[name], tensors[name].float() + 1e-6)


def test_weights_of_four_bytes_stay_so(llama):
    assert {each.dtype for each in llama[1].fresh_base().model.parameters()} == {torch.float32}


def test_the_plan_of_memory_counts_two_bytes_a_weight_and_four_for_what_is_computed(llama):
    config = read_config(str(llama[0].directory))
    narrow, wide = (footprint(skeleton(config, each), torch.float32) for each in (torch.bfloat16, torch.float32))

    assert (narrow.parameters, narrow.linears, narrow.head) == (wide.parameters / 2, wide.linears / 2, wide.head / 2)
    assert (narrow.cache_per_token, narrow.kept_per_token) == (wide.cache_per_token, wide.kept_per_token)


def test_a_base_that_fits_in_two_bytes_only_is_loaded(llama):
    directory = str(llama[0].directory)
    needed = plan(footprint(skeleton(read_config(directory), torch.bfloat16), torch.float32), rank=4).needed
    # A sixteenth is kept for everything else.
    just_enough = Memory(needed * 16 // 15 + 16, needed * 16 // 15 + 16, "this machine")

    narrow, wide = (
        plan_loading(
            directory,
            revision=None,
            rank=4,
            dtype=torch.float32,
            device=torch.device("cpu"),
            stored=stored,
            measure=lambda _: just_enough,
        )
        for stored in (torch.bfloat16, None)
    )

    assert narrow.shortage is None
    assert "for its weights in float32" in wide.shortage


def test_jobs_of_several_ranks_have_adapters_in_fp32(llama):
    base = llama[0].fresh_base()
    slot = base.slots.load(base.slots.fresh(AdapterShape(rank=3, alpha=3.0), 0), trainable=True)

    assert base.slots.trainable(slot).weights_P.dtype == torch.float32
