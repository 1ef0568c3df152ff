import json
import warnings

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, GenerationConfig

from families import FAMILIES, WINDOW
from family_models import _move_from_beginning
from gguf_cases import CASES, LINEAR, LLAMA_3_1
from gguf_writing import Kind, add, add_numbers, tokenizer_keys, write_gguf
from tiny_models import CONTEXT_TOKENS, DIALECTS, build_tokenizer
from tuningfork.domain.base_model import BaseModel, BaseModelName
from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.files.gguf.conversion import convert
from tuningfork.modeling.loading import load_base

PRE = {"llama": "llama-bpe", "qwen3": "qwen2", "gemma3": "gpt-2"}
TEXT_TOKENS = 2 * WINDOW + 6


def original(name, changed=None):
    """A small random model of a family with its tokenizer."""
    family = FAMILIES[name]
    tokenizer = build_tokenizer(DIALECTS[family.dialect])
    settings = {
        "vocab_size": len(tokenizer),
        "num_hidden_layers": 3,
        "max_position_embeddings": CONTEXT_TOKENS,
        "initializer_range": 0.15,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(31)
        model = AutoModelForCausalLM.from_config(family.config(**(settings | dict(family.shape) | (changed or {}))))
    _move_from_beginning(model)
    # As the models are published; sums with one are then exact or can be undone.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())
    model.generation_config = GenerationConfig()
    return model.eval(), tokenizer, PRE[family.dialect]


def written(tmp_path, name, changed=None, **how):
    model, tokenizer, pre = original(name, changed)
    tokenizer.save_pretrained(tmp_path / "original")
    keys = tokenizer_keys(tmp_path / "original", pre=pre, template=tokenizer.chat_template)
    return model, write_gguf(model, keys, tmp_path / "model.gguf", **how)


def converted(tmp_path, file):
    into = tmp_path / "converted"
    into.mkdir()
    convert(file, into, lambda *_: None)
    return into


def loaded(directory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, report = AutoModelForCausalLM.from_pretrained(
            directory, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
        )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    return model.eval()


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_a_converted_model_has_the_weights_and_the_logits_of_the_original(case, tmp_path):
    model, file = written(tmp_path, *CASES[case])
    model.set_attn_implementation("eager")

    directory = converted(tmp_path, file)

    other = loaded(directory)
    ours, theirs = other.state_dict(), model.state_dict()
    assert ours.keys() == theirs.keys()
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
    ids = torch.randint(0, model.config.vocab_size - 8, (1, TEXT_TOKENS), generator=torch.Generator().manual_seed(3))
    assert torch.allclose(other(ids).logits, model(ids).logits, atol=2e-5, rtol=0)


@pytest.mark.parametrize("case", ["smollm 2", "llama 3.2", "qwen 3", "gemma 3"])
def test_a_converted_model_answers_as_the_original_does(case, tmp_path):
    model, file = written(tmp_path, *CASES[case])
    prompt = torch.tensor([[5, 9, 70, 33]])

    other = loaded(converted(tmp_path, file))
    model.set_attn_implementation("eager")

    settings = {"max_new_tokens": 16, "do_sample": False, "pad_token_id": 0}
    other.generation_config = GenerationConfig()
    assert torch.equal(other.generate(prompt, **settings), model.generate(prompt, **settings))


def test_the_tested_scalings_of_rotations_matter(tmp_path):
    config = json.loads((converted(tmp_path, written(tmp_path, *CASES["llama 3.2"])[1]) / "config.json").read_text())

    assert config["rope_parameters"] == LLAMA_3_1


@pytest.mark.parametrize("case", ["smollm 2", "qwen 2", "gemma 3", "phi 4 mini"])
def test_the_service_loads_a_converted_model_with_its_ends_and_its_template(case, tmp_path):
    _, file = written(tmp_path, *CASES[case], change=lambda writer: writer.add_eot_token_id(3))
    directory = converted(tmp_path, file)

    base = load_base(
        BaseModel(
            name=BaseModelName("models/x"), location=str(directory), display_name="x", context_tokens=CONTEXT_TOKENS
        ),
        dtype=torch.float32,
    )

    assert (
        base.chat.tokenizer.chat_template == build_tokenizer(DIALECTS[FAMILIES[CASES[case][0]].dialect]).chat_template
    )
    assert {3, base.chat.tokenizer.eos_token_id} <= base.chat.end_of_turn_ids


@pytest.mark.parametrize(
    ("kind", "stored"), [(Kind.F32, "BF16"), (Kind.F16, "F16"), (Kind.BF16, "BF16"), (Kind.Q8_0, "BF16")]
)
def test_weights_take_two_bytes_each(kind, stored, tmp_path):
    _, file = written(tmp_path, "llama3", {"hidden_size": 64, "intermediate_size": 96, "head_dim": 32}, kind=kind)

    directory = converted(tmp_path, file)

    weights = load_file(directory / "model.safetensors")
    kinds = {"BF16": torch.bfloat16, "F16": torch.float16}
    assert weights["model.layers.0.mlp.up_proj.weight"].dtype is kinds[stored]
    assert weights["model.norm.weight"].dtype is torch.bfloat16


def test_numbers_that_two_bytes_cannot_hold_stay_in_four(tmp_path):
    model, tokenizer, pre = original("llama3")
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = 1 + 2**-20
        model.model.norm.weight[0] = 1 + 2**-10
    tokenizer.save_pretrained(tmp_path / "original")
    keys = tokenizer_keys(tmp_path / "original", pre=pre)

    weights = load_file(converted(tmp_path, write_gguf(model, keys, tmp_path / "x.gguf")) / "model.safetensors")

    assert weights["model.layers.1.mlp.up_proj.weight"].dtype is torch.float32
    assert torch.equal(weights["model.layers.1.mlp.up_proj.weight"], model.model.layers[1].mlp.up_proj.weight)
    assert weights["model.layers.0.mlp.up_proj.weight"].dtype is torch.bfloat16


def test_quantized_weights_are_as_near_as_bfloat16_is(tmp_path):
    model, file = written(
        tmp_path, "llama3", {"hidden_size": 64, "intermediate_size": 96, "head_dim": 32}, kind=Kind.Q8_0
    )

    weights = load_file(converted(tmp_path, file) / "model.safetensors")

    for name, original_weights in model.state_dict().items():
        if original_weights.dim() == 2:
            error = (weights[name].float() - original_weights).abs().max()
            assert error <= original_weights.abs().max() / 127


def test_a_size_of_its_own_for_each_layer_is_refused(tmp_path):
    model, tokenizer, pre = original("llama3")
    tokenizer.save_pretrained(tmp_path / "original")
    keys = tokenizer_keys(tmp_path / "original", pre=pre)
    keys["llama.attention.sliding_window"] = [12, 12, 24]

    with pytest.raises(BaseUnusable, match="one number from 0"):
        converted(tmp_path, write_gguf(model, keys, tmp_path / "x.gguf"))


def changed_by(*steps):
    def change(writer):
        for step in steps:
            step(writer)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda writer: add(writer, "llama.attention.temperature_scale", 0.1), "temperature_scale"),
        (lambda writer: add(writer, "llama.logit_scale", 0.5), "logit_scale"),
        (lambda writer: add(writer, "tokenizer.ggml.precompiled_charsmap", [1, 2]), "precompiled_charsmap"),
        (lambda writer: add(writer, "llama.expert_count", 8), "mixture of experts"),
        (lambda writer: add(writer, "llama.pooling_type", 1), "embeddings"),
        (lambda writer: add(writer, "general.type", "adapter"), "adapter"),
        (lambda writer: add(writer, "split.count", 3), "llama-gguf-split"),
        (lambda writer: add(writer, "llama.attention.scale", 0.5), "scale of its own"),
        (lambda writer: add(writer, "llama.rope.scaling.type", "longrope"), "scales its rotations"),
        (lambda writer: add_numbers(writer, "blk.0.attn_sinks.weight", [1.0]), "attn_sinks"),
        (lambda writer: add_numbers(writer, "blk.0.attn_q_norm.weight", [1.0] * 24), "attn_q_norm"),
        (lambda writer: add_numbers(writer, "blk.3.attn_norm.weight", [1.0] * 48), "blk.3"),
        (lambda writer: add_numbers(writer, "output_norm.bias", [1.0] * 48), "output_norm.bias"),
    ],
)
def test_what_would_be_lost_is_refused_by_its_name(change, said, tmp_path):
    _, file = written(tmp_path, "llama3", {"rope_parameters": LINEAR | {"rope_type": "default"}}, change=change)

    with pytest.raises(BaseUnusable, match=said):
        converted(tmp_path, file)


def test_notes_of_whoever_made_the_file_are_passed_over(tmp_path):
    notes = {
        "general.quantized_by": "somebody",
        "general.tags": ["text-generation"],
        "quantize.imatrix.file": "imatrix.dat",
        "somebody.version": 2,
        "tokenizer.ggml.fim_pre_token_id": 1,
    }
    _, file = written(
        tmp_path, "llama3", change=lambda writer: [add(writer, key, value) for key, value in notes.items()]
    )

    assert (converted(tmp_path, file) / "config.json").is_file()


def test_sampling_values_of_the_file_become_the_models(tmp_path):
    values = {"general.sampling.temp": 0.6, "general.sampling.top_k": 20, "general.sampling.top_p": 0.95}
    _, file = written(
        tmp_path, "llama3", change=lambda writer: [add(writer, key, value) for key, value in values.items()]
    )

    generation = json.loads((converted(tmp_path, file) / "generation_config.json").read_text())

    assert generation["top_k"] == 20
    assert generation["temperature"] == pytest.approx(0.6)
    assert generation["top_p"] == pytest.approx(0.95)


def test_an_architecture_that_is_not_known_is_named(tmp_path):
    _, file = written(tmp_path, "llama3")
    content = file.read_bytes().replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0xlama", 1)
    file.write_bytes(content)

    with pytest.raises(BaseUnusable, match=r"'xlama'.*llama, qwen2"):
        converted(tmp_path, file)
