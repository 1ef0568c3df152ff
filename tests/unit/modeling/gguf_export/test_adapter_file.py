import numpy as np
import pytest
import torch
from gguf import GGUFReader

from gguf_cases import CASES
from gguf_exports import SHAPE, TEMPLATE, add_adapter, save_adapter, save_base
from gguf_writing import write_gguf
from small_files import no_file_longer_than
from tuningfork.domain.errors import InvalidArgument
from tuningfork.modeling.gguf_export.adapter_file import write_adapter
from tuningfork.modeling.gguf_export.layout import TensorForm, write_header
from tuningfork.modeling.gguf_export.weights import Kind

TOKENS = {"tokenizer.ggml.model": "gpt2"}


def tensors_of(file):
    return {tensor.name: np.array(tensor.data) for tensor in GGUFReader(file).tensors}


def text_of(file, key):
    return str(GGUFReader(file).fields[key].contents())


@pytest.mark.parametrize("case", CASES)
def test_a_files_weights_and_an_adapters_are_the_merged_ones(case, tmp_path):
    # Both files of models are written by another writer, in the way of llama.cpp's converter.
    model = save_base(*CASES[case], tmp_path / "base")
    adapter = save_adapter(model, tmp_path / "adapter")
    before = tensors_of(write_gguf(model, TOKENS, tmp_path / "before.gguf"))
    add_adapter(model, adapter)
    after = tensors_of(write_gguf(model, TOKENS, tmp_path / "after.gguf"))

    write_adapter(tmp_path / "base", tmp_path / "adapter", tmp_path / "adapter.gguf", name="x")

    learned = tensors_of(tmp_path / "adapter.gguf")
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert learned.keys() == {f"{name}.lora_{which}" for name in changed for which in "ab"}
    for name in changed:
        product = learned[f"{name}.lora_b"] @ learned[f"{name}.lora_a"]
        merged = before[name] + SHAPE.alpha / SHAPE.rank * product
        assert np.allclose(merged, after[name], atol=1e-6, rtol=1e-6)


def test_the_file_says_that_it_is_an_adapter_and_for_which_architecture(tmp_path):
    save_adapter(save_base("qwen2", {}, tmp_path / "base"), tmp_path / "adapter")

    write_adapter(tmp_path / "base", tmp_path / "adapter", tmp_path / "x.gguf", name="my numbers")

    said = {
        "general.architecture": "qwen2",
        "general.type": "adapter",
        "general.name": "my numbers",
        "adapter.type": "lora",
        "adapter.lora.alpha": str(SHAPE.alpha),
    }
    assert {key: text_of(tmp_path / "x.gguf", key) for key in said} == said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "base", "x.gguf"]


def test_an_adapter_for_another_base_is_refused(tmp_path):
    save_base("qwen2", {}, tmp_path / "base")
    save_adapter(save_base("qwen3", {}, tmp_path / "other"), tmp_path / "adapter")

    with pytest.raises(InvalidArgument, match="does not fit the base"):
        write_adapter(tmp_path / "base", tmp_path / "adapter", tmp_path / "x.gguf", name="x")

    assert not list(tmp_path.glob("*x.gguf*"))


def test_an_adapter_is_refused_for_a_base_that_llama_cpp_computes_otherwise(tmp_path):
    save_adapter(save_base("smollm3", {"no_rope_layer_interval": 2}, tmp_path / "base"), tmp_path / "adapter")

    with pytest.raises(InvalidArgument, match=r"no smollm3 model with no_rope_layers = \[1, 0, 1\]"):
        write_adapter(tmp_path / "base", tmp_path / "adapter", tmp_path / "x.gguf", name="x")


def test_no_file_is_larger_than_the_adapters(tmp_path):
    model = save_base("qwen2", {"hidden_size": 64, "intermediate_size": 192}, tmp_path / "base")
    save_adapter(model, tmp_path / "adapter")
    write_adapter(tmp_path / "base", tmp_path / "adapter", tmp_path / "x.gguf", name="x")
    size = (tmp_path / "x.gguf").stat().st_size
    assert size < 4 * sum(weight.numel() for weight in model.parameters()) / 2

    with no_file_longer_than(size):
        write_adapter(tmp_path / "base", tmp_path / "adapter", tmp_path / "y.gguf", name="x")

    assert (tmp_path / "x.gguf").read_bytes() == (tmp_path / "y.gguf").read_bytes()


def test_an_adapter_is_refused_beside_a_file_that_has_its_weights_in_others(tmp_path):
    # As older files of Phi 2 have them.
    model = save_base("phi", {}, tmp_path / "base")
    save_adapter(model, tmp_path / "adapter")
    whole = write_gguf(model, TOKENS, tmp_path / "whole.gguf")
    fused = tmp_path / "fused.gguf"
    write_header(fused, "phi2", {}, {"blk.0.attn_qkv.weight": TensorForm((96, 32), Kind.F32)})
    where = (tmp_path / "base", tmp_path / "adapter", tmp_path / "x.gguf")

    with pytest.raises(InvalidArgument, match=r"the adapter changes 'blk\.0\..*fused\.gguf does not have.*--gguf"):
        write_adapter(*where, name="x", file=fused)

    assert write_adapter(*where, name="x", file=whole) == ()


def test_a_template_that_the_base_does_not_have_is_told(tmp_path):
    save_adapter(save_base("qwen2", {}, tmp_path / "base"), tmp_path / "adapter")
    (tmp_path / "adapter" / "chat_template.jinja").write_text(TEMPLATE)

    (told,) = write_adapter(tmp_path / "base", tmp_path / "adapter", tmp_path / "x.gguf", name="x")

    assert "--chat-template-file DIR/chat_template.jinja" in told


@torch.no_grad()
def test_numbers_are_those_of_the_adapter_to_the_bit(tmp_path):
    weights = save_adapter(save_base("qwen2", {}, tmp_path / "base"), tmp_path / "adapter")

    write_adapter(tmp_path / "base", tmp_path / "adapter", tmp_path / "x.gguf", name="x")

    written = tensors_of(tmp_path / "x.gguf")
    layer = "base_model.model.model.layers.1.mlp.up_proj"
    for which in "AB":
        ours = weights.tensors[f"{layer}.lora_{which}.weight"].numpy()
        assert np.array_equal(written[f"blk.1.ffn_up.weight.lora_{which.lower()}"], ours)
