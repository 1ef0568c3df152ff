"""The GGUF files for llama.cpp hold the same weights, in the order in which its rotation takes them."""

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import gguf_models
import shapes

HEAD = 64


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return shapes.make_model(tmp_path_factory.mktemp("made") / "model", shapes.TINY)


def read(file):
    return gguf.GGUFReader(file)


def values_of(reader):
    return {each.name: gguf.dequantize(each.data, each.tensor_type) for each in reader.tensors}


def halves_rotated(x_HD, angle_D):
    """transformers' rotation of one head: a row with the one half a head further."""
    one, other = x_HD[: HEAD // 2], x_HD[HEAD // 2 :]
    cos, sin = angle_D.cos()[:, None], angle_D.sin()[:, None]
    return torch.cat([one * cos - other * sin, other * cos + one * sin])


def neighbours_rotated(x_HD, angle_D):
    """llama.cpp's rotation of one head: a row with the next one."""
    one, other = x_HD[0::2], x_HD[1::2]
    cos, sin = angle_D.cos()[:, None], angle_D.sin()[:, None]
    return torch.stack([one * cos - other * sin, other * cos + one * sin], dim=1).reshape(x_HD.shape)


def test_a_file_holds_the_weights_and_the_dimensions(model, tmp_path):
    reader = read(gguf_models.kept_model(tmp_path, model, gguf_models.F16))
    weights, values = load_file(model / "model.safetensors"), values_of(reader)

    assert reader.fields["llama.attention.head_count_kv"].contents() == shapes.TINY.kv_heads
    assert reader.fields["llama.block_count"].contents() == shapes.TINY.layers
    assert reader.fields["llama.rope.freq_base"].contents() == pytest.approx(10_000)
    assert len(values) == len(weights)
    down = weights["model.layers.1.mlp.down_proj.weight"].float().numpy()
    np.testing.assert_allclose(values["blk.1.ffn_down.weight"], down, rtol=2**-10, atol=2**-24)
    np.testing.assert_array_equal(values["output_norm.weight"], weights["model.norm.weight"].float().numpy())


@pytest.mark.parametrize("head", [0, 1])
def test_scores_after_llama_cpps_rotation_are_those_after_transformers(model, tmp_path, head):
    values = values_of(read(gguf_models.kept_model(tmp_path, model, gguf_models.F16)))
    stored = load_file(model / "model.safetensors")["model.layers.0.self_attn.q_proj.weight"].half().float()
    written = torch.tensor(values["blk.0.attn_q.weight"])
    rows = slice(head * HEAD, (head + 1) * HEAD)
    angle_D = torch.linspace(0.1, 3.0, HEAD // 2)

    ours, theirs = halves_rotated(stored[rows], angle_D), neighbours_rotated(written[rows], angle_D)

    still = stored[rows], written[rows]
    torch.testing.assert_close(theirs.T @ still[1], ours.T @ still[0])
    assert not torch.equal(*still)


def test_blocks_of_eight_bits_are_near_the_weights(model, tmp_path):
    values = values_of(read(gguf_models.kept_model(tmp_path, model, gguf_models.Q8_0)))
    weight = load_file(model / "model.safetensors")["model.layers.0.mlp.up_proj.weight"].float().numpy()

    away = np.abs(values["blk.0.ffn_up.weight"] - weight).max()
    assert 0 < away < np.abs(weight).max() / 100


def test_an_adapters_file_has_its_scale_and_computes_what_it_computes(model, tmp_path):
    (adapter,) = shapes.make_adapters(tmp_path, shapes.TINY, model, 1)
    reader = read(gguf_models.write_adapter(tmp_path / "adapter.gguf", adapter, model))
    values, tensors = values_of(reader), load_file(adapter / "adapter_model.safetensors")

    assert reader.fields["adapter.lora.alpha"].contents() == shapes.ADAPTER.alpha
    assert len(values) == len(tensors)
    prefix = "base_model.model.model.layers.0.mlp.up_proj.lora_"
    product = tensors[f"{prefix}B.weight"] @ tensors[f"{prefix}A.weight"]
    written = values["blk.0.ffn_up.weight.lora_b"] @ values["blk.0.ffn_up.weight.lora_a"]
    np.testing.assert_allclose(written, product.numpy(), rtol=1e-5, atol=1e-7)
    assert values["blk.0.attn_k.weight.lora_b"].shape == (HEAD, shapes.ADAPTER.rank)


def test_a_file_is_written_once(model, tmp_path):
    file = gguf_models.kept_model(tmp_path, model, gguf_models.F16)
    made = file.stat()

    assert gguf_models.kept_model(tmp_path, model, gguf_models.F16).stat() == made


def test_other_families_are_refused_by_name(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "qwen3"}', encoding="utf-8")

    with pytest.raises(ValueError, match="is not a Llama"):
        gguf_models.kept_model(tmp_path / "kept", tmp_path, gguf_models.F16)
