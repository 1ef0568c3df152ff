"""Adapters that PEFT itself made, tried in a real generator: those of the base fit, others do not."""

import asyncio
import json
import math
import shutil
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import peft_adapters
from tiny_models import Architecture, tiny_base_model, trained_looking
from tuningfork.artifacts.local import LocalArtifactStore
from tuningfork.client import adapter_directory
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.generation import Sampling
from tuningfork.execution.base import GenerationAssignment
from tuningfork.execution.local import environment
from tuningfork.execution.local.generators import LocalGenerators
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.loading import load_base
from tuningfork.modeling.merging import merge
from tuningfork.wire.peft.config import parse_config, render_config

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated")]
REF = ArtifactRef("imports/job/adapter")


@pytest.fixture(scope="module")
def generators(tmp_path_factory):
    root = tmp_path_factory.mktemp("artifacts")
    variables = environment.of_worker(1, "warning")
    generators = LocalGenerators(variables | environment.of_artifacts(root))
    yield generators, LocalArtifactStore(root)
    generators.close()


def from_peft(base, directory, **options):
    """An adapter that PEFT saves for the base, with random weights in both matrices."""
    model = AutoModelForCausalLM.from_pretrained(base.location)
    torch.manual_seed(3)
    usual = {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "down_proj"], "init_lora_weights": False}
    wrapped = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **(usual | options)))
    wrapped.save_pretrained(directory)
    return directory


def stored(store, directory, ref=REF):
    """The adapter as a server stores it, after the checks of client and server."""
    adapter_directory.read(directory)
    store.delete(ref)
    with store.writing(ref) as place:
        place.mkdir(parents=True)
        (place / "adapter_config.json").write_bytes(
            render_config(parse_config((directory / "adapter_config.json").read_bytes()))
        )
        shutil.copyfile(directory / "adapter_model.safetensors", place / "adapter_model.safetensors")
    return ref


def refusal(generators, base, ref):
    with pytest.raises(InvalidArgument) as refused:
        asyncio.run(generators.try_adapter(base, ref))
    return refused.value.message


@pytest.mark.parametrize("architecture", [*Architecture])
@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"target_modules": "all-linear"}], ids=str)
def test_what_peft_saved_fits_its_base(generators, tiny_directories, tmp_path, architecture, options):
    generators, store = generators
    base = tiny_base_model(architecture, tiny_directories[architecture.value])

    asyncio.run(generators.try_adapter(base, stored(store, from_peft(base, tmp_path / "adapter", **options))))


def test_an_adapter_of_other_shapes_does_not_fit(generators, tiny_llama, tmp_path):
    generators, store = generators
    directory = peft_adapters.written(tmp_path / "adapter")

    said = refusal(generators, tiny_llama, stored(store, directory))

    assert said.startswith(f"the adapter does not fit the base: {peft_adapters.LAYER}.lora_A.weight is (4, 8), ")


def test_layers_that_are_not_adapted_here_are_named(generators, tiny_llama, tmp_path):
    generators, store = generators
    matrices = peft_adapters.matrices(layers=("base_model.model.lm_head",))
    contents = peft_adapters.files() | {"adapter_model.safetensors": peft_adapters.weights(matrices)}
    directory = peft_adapters.written(tmp_path / "adapter", contents)

    assert "no adapted layer, such as base_model.model.lm_head.lora_A.weight" in refusal(
        generators, tiny_llama, stored(store, directory)
    )


def test_numbers_that_are_none_are_found_by_the_server_too(generators, tiny_llama, tmp_path):
    generators, store = generators
    directory = from_peft(tiny_llama, tmp_path / "adapter")
    ref = stored(store, directory)
    tensors = load_file(directory / "adapter_model.safetensors")
    tensors[min(tensors)][0, 0] = math.inf
    store.delete(ref)
    with store.writing(ref) as place:
        place.mkdir(parents=True)
        shutil.copyfile(directory / "adapter_config.json", place / "adapter_config.json")
        save_file(tensors, place / "adapter_model.safetensors")

    said = refusal(generators, tiny_llama, ref)

    assert "values that are not finite numbers" in said
    assert str(store.root) not in said


def test_an_adapter_of_other_weights_of_the_same_shapes_does_not_fit(generators, tiny_llama, tmp_path):
    generators, store = generators
    weights = trained_looking(load_base(tiny_llama).slots, AdapterShape(rank=2, alpha=2.0), seed=1)
    adapter_format.save(tmp_path / "adapter", weights, "elsewhere", base_fingerprint="0" * 64)

    assert "other weights of the same shapes" in refusal(generators, tiny_llama, stored(store, tmp_path / "adapter"))


def test_an_rslora_adapter_answers_as_it_does_when_peft_merges_it(generators, tiny_llama, tmp_path):
    generators, store = generators
    directory = from_peft(tiny_llama, tmp_path / "adapter", use_rslora=True, target_modules="all-linear")
    ref = stored(store, directory)

    theirs = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_llama.location), directory)
    expected = theirs.merge_and_unload().state_dict()
    merge(Path(tiny_llama.location), store.path(ref), tmp_path / "merged")

    ours = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").state_dict()
    for name, weight in expected.items():
        torch.testing.assert_close(ours[name], weight, rtol=1e-5, atol=1e-6)


def test_the_generator_answers_with_an_imported_adapter(generators, tiny_llama, tmp_path):
    generators, store = generators
    directory = from_peft(tiny_llama, tmp_path / "adapter", target_modules="all-linear", lora_alpha=64)
    ref = stored(store, directory)
    prompt = Conversation(turns=(Turn.said(Speaker.USER, "one two"),))
    greedy = Sampling(temperature=0.0, top_p=1.0, top_k=None, max_output_tokens=12)

    async def said(adapter):
        chunks = generators.generate(
            GenerationAssignment(base=tiny_llama, adapter=adapter, prompt=prompt, sampling=greedy)
        )
        return "".join([chunk.text async for chunk in chunks])

    assert asyncio.run(said(ref)) != asyncio.run(said(None))
    assert json.loads((store.path(ref) / "adapter_config.json").read_text())["lora_alpha"] == 64
