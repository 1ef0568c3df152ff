"""A base whose weights are kept in int8 computes what a base with the rounded weights in fp32 computes."""

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
from tuningfork.domain.base_model import WeightType
from tuningfork.domain.errors import BaseUnusable
from tuningfork.inference.engine import InferenceEngine
from tuningfork.modeling import loading
from tuningfork.modeling.compiled.products import CompiledProduct
from tuningfork.modeling.compiled.proof import proven
from tuningfork.modeling.decoder.recipe import is_written_out
from tuningfork.modeling.device.available_memory import Memory
from tuningfork.modeling.files.skeleton import read_config, skeleton
from tuningfork.modeling.int8_weights import Int8Product, rounded_to_int8
from tuningfork.modeling.loading import load_base
from tuningfork.modeling.memory_plan import footprint, plan, plan_loading
from tuningfork.training.savepoint import SavepointOverOtherWeights

INT8 = {"weights": WeightType.INT8}
TEXTS = [
    torch.randint(0, 250, (length,), generator=torch.Generator().manual_seed(length)).tolist() for length in (7, 29)
]
COMPILED = pytest.param(
    "compiled", marks=pytest.mark.skipif(proven() is None, reason="this installation has no compiled parts")
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tuningfork" / "int8"


@pytest.fixture(params=[COMPILED, "plain"])
def products(request, monkeypatch):
    """By which products fp32 is computed."""
    if request.param == "plain":
        # Why: stands for an installation without a compiler.
        monkeypatch.setattr(loading, "proven", lambda: None)
    return {"compiled": CompiledProduct, "plain": Int8Product}[request.param]


def rounded(family, directory):
    """The family's model with its matrices rounded as int8 rounds them, in fp32."""
    shutil.copytree(family.directory, directory, ignore=shutil.ignore_patterns("adapters"))
    model = family.plain()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                numbers, scale_O = rounded_to_int8(parameter)
                parameter.copy_(numbers * scale_O[:, None])
    model.save_pretrained(directory)
    return FamilyModels(family.name, directory)


@pytest.fixture
def written_out(family):
    if not is_written_out(family.plain()):
        pytest.skip("this family runs by transformers' code")
    return family


@pytest.fixture
def llama(tmp_path):
    return FamilyModels("smollm2", save_family("smollm2", tmp_path / "model"))


def in_int8(family, dtype=torch.float32):
    return load_base(family.base_model, dtype=dtype, **INT8)


def matrices(base):
    return [each for each in base.model.parameters() if each.dim() > 1]


def test_logits_are_those_of_the_rounded_weights(written_out, products, tmp_path):
    ours, wanted = in_int8(written_out), rounded(written_out, tmp_path / "rounded").fresh_base()

    assert {each.dtype for each in matrices(ours)} == {torch.int8}
    assert isinstance(ours.decoder.head.stored, products)
    assert ours.dtype == ours.slots.dtype == torch.float32
    for found, right in zip(packed_logits(ours, TEXTS, None), packed_logits(wanted, TEXTS, None), strict=True):
        torch.testing.assert_close(found, right, rtol=0, atol=5e-5)


def test_transformers_own_code_computes_the_same_with_them(written_out, tmp_path):
    ours = dataclasses.replace(in_int8(written_out), decoder=None)
    plain = rounded(written_out, tmp_path / "rounded").plain()

    for text, found_TV in zip(TEXTS, packed_logits(ours, TEXTS, None), strict=True):
        with torch.no_grad():
            right_TV = plain(torch.tensor([text])).logits[0]
        torch.testing.assert_close(found_TV, right_TV, rtol=0, atol=5e-5)


def test_training_and_answers_are_those_over_the_rounded_weights(llama, products, tmp_path):
    ours, wanted = in_int8(llama), rounded(llama, tmp_path / "rounded").fresh_base()

    curves = [curve(run_to_the_end(each)) for each in map(engine_over, (ours, wanted)) if each.admit(job()) == 0]
    asked = [request(f"{size}", list(range(2, 2 + size)), sampling=greedy(12)) for size in (3, 9)]
    answers = [{key: answer.tokens for key, answer in answers_of(base, *asked).items()} for base in (ours, wanted)]

    assert isinstance(ours.decoder.head.stored, products)
    assert len(curves[0]) > 1
    assert curves[0] == pytest.approx(curves[1], rel=1e-3)
    assert answers[0] == answers[1]


@pytest.mark.skipif(proven() is None, reason="this installation has no compiled parts")
def test_an_answer_depends_on_no_other_one(llama):
    base = in_int8(llama)
    asked = [request(f"{size}", list(range(2, 2 + size)), sampling=greedy(9)) for size in (3, 9, 17, 30)]

    together = answers_of(base, *asked)
    alone = {}
    for each in asked:
        alone |= answers_of(base, each)

    assert InferenceEngine(base)._compiled is not None
    assert {key: answer.tokens for key, answer in together.items()} == {
        key: answer.tokens for key, answer in alone.items()
    }


@pytest.mark.bf16
def test_in_bfloat16_the_weights_are_in_int8_too(written_out, tmp_path):
    ours, exact = in_int8(written_out, torch.bfloat16), rounded(written_out, tmp_path / "rounded")
    theirs, right = exact.fresh_base(torch.bfloat16), exact.fresh_base()

    assert {each.dtype for each in matrices(ours)} == {torch.int8}
    assert ours.dtype == ours.decoder.head.dtype == torch.bfloat16
    found, usual, wanted = (torch.cat(packed_logits(base, TEXTS, None)).float() for base in (ours, theirs, right))
    assert (found - wanted).square().mean().sqrt() < 1.25 * (usual - wanted).square().mean().sqrt()


def test_the_way_back_is_that_of_autograd():
    numbers, scale_O = rounded_to_int8(torch.randn(30, 20, generator=torch.Generator().manual_seed(0)))
    x_TD = torch.randn(5, 20, generator=torch.Generator().manual_seed(1)).requires_grad_()
    grad_TO = torch.randn(5, 30, generator=torch.Generator().manual_seed(2))
    torch.nn.functional.linear(x_TD, numbers * scale_O[:, None]).backward(grad_TO)
    product = Int8Product([numbers[:12], numbers[12:]], scale_O, dtype=torch.float32)

    torch.testing.assert_close(product.backward(grad_TO), x_TD.grad)


def test_a_weight_is_off_by_half_a_step_of_its_row_at_most():
    weight_OD = torch.randn(40, 64, generator=torch.Generator().manual_seed(0)) * torch.logspace(-6, 6, 40)[:, None]
    weight_OD[7] = 0

    numbers, scale_O = rounded_to_int8(weight_OD)

    assert numbers.abs().amax(dim=1).tolist() == [0 if row == 7 else 127 for row in range(40)]
    assert bool(((numbers * scale_O[:, None] - weight_OD).abs() <= 0.5001 * scale_O[:, None]).all())
    assert numbers[7].eq(0).all()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_all_processes_map_one_file_that_is_made_once(llama, cache):
    first = in_int8(llama)
    [file] = cache.glob("*.safetensors")
    written = file.stat().st_mtime_ns
    second = in_int8(llama)

    assert list(cache.glob("*.safetensors")) == [file]
    assert file.stat().st_mtime_ns == written
    held = [
        tuple(int(part, 16) for part in line.split(maxsplit=1)[0].split("-"))
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith(str(file))
    ]
    for base in (first, second):
        for each in matrices(base):
            assert any(begin <= each.data_ptr() < end for begin, end in held)


def test_other_weights_in_the_same_place_get_another_file(llama, cache):
    before = packed_logits(in_int8(llama), TEXTS, None)
    path = llama.directory / "model.safetensors"
    save_file({name: 1.5 * each for name, each in load_file(path).items()}, path, metadata={"format": "pt"})

    after = packed_logits(in_int8(llama), TEXTS, None)

    # That of the weights which are not there any more is gone, and so is its lock.
    [file] = cache.glob("*.safetensors")
    assert [path.name for path in cache.iterdir() if path != file] == [f".{file.name}.lock"]
    assert not torch.equal(before[0], after[0])


def test_a_file_is_removed_with_the_weights_that_it_was_made_of(llama, cache, tmp_path):
    gone = FamilyModels("smollm2", Path(shutil.copytree(llama.directory, tmp_path / "gone")))
    kept, first = in_int8(llama), in_int8(gone)
    before = packed_logits(first, TEXTS, None)
    assert len(list(cache.glob("*.safetensors"))) == 2
    shutil.rmtree(gone.directory)

    # Whatever the weights of the next base that is loaded are kept in.
    load_base(llama.base_model, dtype=torch.float32)

    assert len(list(cache.glob("model-*.safetensors"))) == len(list(cache.glob("*.safetensors"))) == 1
    # Those who have mapped it keep its pages.
    assert torch.equal(packed_logits(first, TEXTS, None)[0], before[0])
    assert torch.equal(packed_logits(in_int8(llama), TEXTS, None)[0], packed_logits(kept, TEXTS, None)[0])


def test_a_file_of_an_earlier_version_or_a_damaged_one_is_removed(llama, cache):
    cache.mkdir(parents=True)
    save_file({"x.weight": torch.zeros(2)}, cache / "earlier.safetensors")
    (cache / "damaged.safetensors").write_bytes(b"half")

    load_base(llama.base_model, dtype=torch.float32)

    assert list(cache.iterdir()) == []


def test_what_a_killed_process_has_left_is_removed_when_its_file_is_made(llama, cache):
    in_int8(llama)
    [file] = cache.glob("*.safetensors")
    file.rename(cache / f".{file.name}.abc.partial")

    in_int8(llama)

    assert list(cache.glob("*.partial")) == []
    assert file.is_file()


def test_a_job_goes_on_over_weights_that_are_kept_as_they_were(llama, tmp_path):
    stored = engine_over(load_base(llama.base_model, dtype=torch.float32))
    narrow = engine_over(in_int8(llama))
    stored.admit(job())
    stored.step()
    stored.write_savepoint(job().id, tmp_path / "savepoint")

    with pytest.raises(SavepointOverOtherWeights, match=r"--weights stored.*has --weights int8 now.*from the start"):
        narrow.admit(job(), tmp_path / "savepoint")

    stored.release(job().id)
    assert stored.admit(job(), tmp_path / "savepoint") == 1


def test_what_cannot_be_kept_in_int8_is_refused_in_a_sentence(family, llama, monkeypatch, tmp_path):
    if not is_written_out(family.plain()):
        with pytest.raises(BaseUnusable, match=r"runs by transformers' code.*start the server without --weights int8"):
            in_int8(family)
    with pytest.raises(BaseUnusable, match="weights in int8 are for CPUs"):
        load_base(llama.base_model, device="cuda", dtype=torch.float32, **INT8)
    path = llama.directory / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name, each in tensors.items() if each.dim() == 2)
    tensors[name][0, 0] = float("inf")
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(BaseUnusable, match="has weights that are not finite"):
        in_int8(llama)
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "taken"))
    with pytest.raises(BaseUnusable, match=r"could not be kept in int8.*XDG_CACHE_HOME"):
        in_int8(llama)


def test_weights_that_are_stored_in_two_bytes_are_rounded_from_these(llama, tmp_path):
    shutil.copytree(llama.directory, tmp_path / "narrow")
    llama.plain(torch.bfloat16).save_pretrained(tmp_path / "narrow")
    narrow = in_int8(FamilyModels("smollm2", tmp_path / "narrow"))

    head_VD = llama.plain(torch.bfloat16).get_output_embeddings().weight.detach()
    numbers, scale_V = rounded_to_int8(head_VD)
    assert torch.equal(narrow.decoder.head.parts[0], numbers)
    assert torch.equal(narrow.decoder.head.scale_O, scale_V)


def test_a_base_that_fits_in_one_byte_a_weight_only_is_loaded(llama):
    config = read_config(str(llama.directory))
    wide = footprint(skeleton(config, torch.bfloat16), torch.float32)
    # What is needed in two bytes, less half of the weights, and the sixteenth that is kept for everything else.
    needed = (plan(wide, rank=4).needed - wide.parameters // 2) * 16 // 15 + 16
    memory = Memory(needed, needed, "this machine")

    narrow, wider = (
        plan_loading(
            str(llama.directory),
            revision=None,
            rank=4,
            dtype=torch.float32,
            device=torch.device("cpu"),
            stored=stored,
            measure=lambda _: memory,
        )
        for stored in (torch.int8, torch.bfloat16)
    )

    assert narrow.shortage is None
    assert "for its weights in bfloat16" in wider.shortage
