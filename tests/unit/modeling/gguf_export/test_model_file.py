import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken
from transformers import AutoTokenizer

from gguf_exports import TEMPLATE, save_adapter, save_base
from gguf_tokenizers import byte_level, finished
from gguf_writing import ARCHITECTURES, Kind, tokenizer_keys, write_gguf
from small_files import no_file_longer_than
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.file_types import FileType
from tuningfork.embedded import model_directory
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.adapters.weights import AdapterWeights
from tuningfork.modeling.chat_template import DEFAULT_TEMPLATE
from tuningfork.modeling.files.gguf.conversion import convert
from tuningfork.modeling.gguf_export.model_file import write_model


@pytest.fixture
def base(tmp_path):
    return tmp_path / "base"


@pytest.fixture
def model(base):
    return save_base("llama3", {"hidden_size": 64, "intermediate_size": 96, "head_dim": 32}, base)


@pytest.fixture
def adapter(model, tmp_path):
    save_adapter(model, tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.fixture
def nothing(adapter, tmp_path):
    """An adapter that changes nothing."""
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file(
        {name: torch.zeros_like(weight) for name, weight in weights.items()}, adapter / "adapter_model.safetensors"
    )
    return adapter


def fields(file):
    return {key: field.contents() for key, field in GGUFReader(file).fields.items()}


def written(base, adapter, target, file_type=FileType.F32, name="x"):
    write_model(base, adapter, target, name=name, file_type=file_type)
    return target


@pytest.mark.parametrize(
    "family", ["llama3", "smollm2", "qwen2", "qwen3", "mistral", "gemma", "gemma2", "gemma3", "phi3"]
)
def test_metadata_and_weights_are_those_of_another_writer(family, tmp_path):
    changed = {"gemma2": {"query_pre_attn_scalar": 24}, "gemma3": {"query_pre_attn_scalar": 16}}.get(family, {})
    model = save_base(family, changed, tmp_path / "base")
    adapter = save_adapter(model, tmp_path / "adapter")
    assert adapter
    (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    save_file(
        {name: torch.zeros_like(tensor) for name, tensor in adapter.tensors.items()},
        tmp_path / "adapter" / "adapter_model.safetensors",
    )

    ours = written(tmp_path / "base", tmp_path / "adapter", tmp_path / "x.gguf")

    theirs = write_gguf(model, {}, tmp_path / "theirs.gguf")
    one, other = (
        {tensor.name: np.array(tensor.data) for tensor in GGUFReader(file).tensors} for file in (ours, theirs)
    )
    assert one.keys() == other.keys()
    assert [name for name in one if not np.allclose(one[name], other[name], atol=0, rtol=1e-6)] == []
    architecture = ARCHITECTURES[model.config.model_type]
    said, wanted = fields(ours), fields(theirs)
    own = {key for key in wanted if key.startswith(f"{architecture}.")} - {
        f"{architecture}.{name}" for name in ("context_length", "rope.scaling.original_context_length")
    }
    assert {key: said.get(key) for key in own} == {key: wanted[key] for key in own}


@pytest.mark.parametrize(("file_type", "error"), [("f32", 0.0), ("bf16", 2**-9), ("f16", 2**-11), ("q8_0", 1 / 127)])
def test_weights_are_rounded_once_to_the_type_of_the_file(base, nothing, model, tmp_path, file_type, error):
    file = written(base, nothing, tmp_path / "x.gguf", FileType(file_type))

    (tmp_path / "read").mkdir()
    convert(file, tmp_path / "read", lambda *_: None)
    read = load_file(tmp_path / "read" / "model.safetensors")
    for name, weight in model.state_dict().items():
        most = weight.abs().max() if file_type == "q8_0" else weight.abs()
        assert ((read[name].float() - weight).abs() <= error * most + 2**-25).all()
    assert fields(file)["general.file_type"] == {"f32": 0, "f16": 1, "q8_0": 7, "bf16": 32}[file_type]


def test_quantized_blocks_are_the_gguf_packages(base, nothing, model, tmp_path):
    ours = written(base, nothing, tmp_path / "x.gguf", FileType.Q8_0)

    theirs = write_gguf(model, {}, tmp_path / "theirs.gguf", kind=Kind.Q8_0)
    one, other = (
        {tensor.name: tensor.data.tobytes() for tensor in GGUFReader(file).tensors if tensor.n_elements > 64}
        for file in (ours, theirs)
    )
    assert one == other


def test_rows_that_are_no_whole_blocks_stay_in_float16(tmp_path):
    save_adapter(save_base("qwen2", {"intermediate_size": 72}, tmp_path / "base"), tmp_path / "adapter")

    file = written(tmp_path / "base", tmp_path / "adapter", tmp_path / "x.gguf", FileType.Q8_0)

    kinds = {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(file).tensors}
    assert kinds["blk.0.ffn_up.weight"] == "Q8_0"
    assert kinds["blk.0.ffn_down.weight"] == "F16"
    assert kinds["blk.0.attn_norm.weight"] == "F32"


def test_a_weight_too_large_for_float16_is_refused_with_what_to_do(base, model, adapter, tmp_path):
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 4] = 1e6
    model.save_pretrained(base)

    with pytest.raises(InvalidArgument, match=r"layers\.1\.mlp\.up_proj.*1e\+06.*write bf16 or f32"):
        written(base, adapter, tmp_path / "x.gguf", FileType.F16)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "base"]


def test_what_llama_cpp_has_to_know_of_the_tokenizer_is_in_the_file(base, adapter, tmp_path):
    said = fields(written(base, adapter, tmp_path / "x.gguf", name="my numbers"))

    tokens = json.loads((base / "tokenizer.json").read_text())
    numbers = {token["content"]: token["id"] for token in tokens["added_tokens"]}
    assert said["general.name"] == "my numbers"
    assert (said["tokenizer.ggml.model"], said["tokenizer.ggml.pre"]) == ("gpt2", "llama-bpe")
    assert said["tokenizer.ggml.tokens"][numbers["<|im_end|>"]] == "<|im_end|>"
    assert said["tokenizer.ggml.tokens"][-3:] == [
        f"[PAD{number}]" for number in range(len(said["tokenizer.ggml.tokens"]) - 3, len(said["tokenizer.ggml.tokens"]))
    ]
    kinds = {text: said["tokenizer.ggml.token_type"][number] for text, number in numbers.items()}
    assert kinds == {"<|begin|>": 3, "<|im_start|>": 3, "<|im_end|>": 3, "<think>": 4, "</think>": 4}
    assert said["tokenizer.ggml.eos_token_id"] == numbers["<|im_end|>"]
    assert said["tokenizer.ggml.eot_token_id"] == 7
    # Its tokenizer adds one to texts, and its template writes none: chats were tuned without.
    assert (said["tokenizer.ggml.add_bos_token"], said["tokenizer.ggml.add_eos_token"]) == (False, False)
    assert "<|im_start|>assistant" in said["tokenizer.chat_template"]


def test_a_model_without_a_template_gets_the_plain_one_that_tuning_used(base, adapter, tmp_path):
    (base / "chat_template.jinja").unlink()

    said = fields(written(base, adapter, tmp_path / "x.gguf"))

    assert said["tokenizer.chat_template"] == DEFAULT_TEMPLATE


def test_a_token_before_chats_that_the_template_writes_is_in_the_file(base, adapter, tmp_path):
    (base / "chat_template.jinja").write_text("{{ bos_token }}" + TEMPLATE)

    said = fields(written(base, adapter, tmp_path / "x.gguf"))

    assert (said["tokenizer.ggml.add_bos_token"], said["tokenizer.ggml.add_eos_token"]) == (True, False)


def test_the_template_that_came_with_the_adapter_is_in_the_file(base, adapter, tmp_path):
    # The base's own cannot even be rendered.
    (base / "chat_template.jinja").write_text("{{ nothing.at.all }}")
    (adapter / "chat_template.jinja").write_text(TEMPLATE.replace("assistant", "tutor"))

    said = fields(written(base, adapter, tmp_path / "x.gguf"))

    assert said["tokenizer.chat_template"] == TEMPLATE.replace("assistant", "tutor")


@pytest.mark.parametrize("family", ["llama3", "gemma"])
def test_a_token_before_chats_that_the_tokenizer_does_not_have_is_refused(family, tmp_path):
    # llama.cpp takes one of its own then, so the template would write its text.
    save_adapter(save_base(family, {}, tmp_path / "base"), tmp_path / "adapter")
    (tmp_path / "base" / "chat_template.jinja").write_text("{{ bos_token }}" + TEMPLATE)
    settings = json.loads((tmp_path / "base" / "tokenizer_config.json").read_text())
    del settings["bos_token"]
    (tmp_path / "base" / "tokenizer_config.json").write_text(json.dumps(settings))

    with pytest.raises(InvalidArgument, match=r"a chat for which its template and llama\.cpp make"):
        written(tmp_path / "base", tmp_path / "adapter", tmp_path / "x.gguf")


def test_a_beginning_of_answers_that_the_template_does_not_write_into_prompts_is_refused(base, adapter, tmp_path):
    # Tuning and serving add it to the prompt.
    template = (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
        "{% if message['role'] == 'assistant' %}<think></think>{% endif %}{{ message['content'] }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    (base / "chat_template.jinja").write_text(template)

    with pytest.raises(InvalidArgument, match=r"a chat for which its template and llama\.cpp make"):
        written(base, adapter, tmp_path / "x.gguf")


def test_tokens_that_end_answers_are_those_of_the_configuration_where_no_other_file_names_them(base, adapter, tmp_path):
    (base / "generation_config.json").unlink()
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"eos_token_id": [3, 9]}))

    said = fields(written(base, adapter, tmp_path / "x.gguf"))

    assert {said["tokenizer.ggml.eot_token_id"], said["tokenizer.ggml.eom_token_id"]} == {3, 9}


def test_tokens_of_several_spaces_are_found_by_byte_level_tokenizers(base, adapter, tmp_path):
    # As those of Phi 1 and 2.
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens([AddedToken(" " * count, normalized=True) for count in (2, 4)])
    tokenizer.save_pretrained(base)

    file = written(base, adapter, tmp_path / "x.gguf")

    (tmp_path / "read").mkdir()
    convert(file, tmp_path / "read", lambda *_: None)
    text = "def f(x):\n    return   x\n      # so"
    ours = AutoTokenizer.from_pretrained(tmp_path / "read")(text, add_special_tokens=False).input_ids
    assert ours == tokenizer(text, add_special_tokens=False).input_ids
    assert tokenizer.convert_tokens_to_ids("    ") in ours


def test_sampling_values_that_are_none_are_left_out(base, adapter, tmp_path):
    values = {"top_k": -1, "top_p": 1, "temperature": 0.5}
    (base / "generation_config.json").write_text(json.dumps(values))

    said = fields(written(base, adapter, tmp_path / "x.gguf"))

    found = {key: value for key, value in said.items() if key.startswith("general.sampling.")}
    assert found == {"general.sampling.top_p": 1.0, "general.sampling.temp": 0.5}
    assert GGUFReader(tmp_path / "x.gguf").fields["general.sampling.top_p"].types[0].name == "FLOAT32"


def test_a_file_takes_its_space_once_where_the_file_system_takes_it_at_once(base, adapter, tmp_path, monkeypatch):
    size = written(base, adapter, tmp_path / "first.gguf").stat().st_size
    there = sum(path.stat().st_size for path in tmp_path.iterdir())

    def usage(directory):
        taken = sum(path.stat().st_size for path in tmp_path.iterdir()) - there
        return SimpleNamespace(free=size + 1_000 - taken)

    monkeypatch.setattr(shutil, "disk_usage", usage)

    assert written(base, adapter, tmp_path / "x.gguf").stat().st_size == size


def test_the_embedded_model_can_be_written(tmp_path):
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    shape = AdapterShape(rank=1, alpha=1.0)
    tensors = {f"{layer}.lora_A.weight": torch.ones(1, 256), f"{layer}.lora_B.weight": torch.ones(256, 1)}
    adapter_format.save(tmp_path / "adapter", AdapterWeights(shape, tensors), "elsewhere")

    file = written(model_directory(), tmp_path / "adapter", tmp_path / "x.gguf", FileType.BF16)

    (tmp_path / "read").mkdir()
    convert(file, tmp_path / "read", lambda *_: None)
    ours, theirs = (load_file(place / "model.safetensors") for place in (tmp_path / "read", model_directory()))
    other = [name for name in theirs if not torch.equal(ours[name].float(), theirs[name].float())]
    assert other == ["model.layers.0.self_attn.q_proj.weight"]


REFUSED = {
    "attention to later tokens": (
        "gemma3",
        {"query_pre_attn_scalar": 16, "use_bidirectional_attention": True},
        "use_bidirectional_attention = True",
    ),
    "another activation": ("llama3", {"hidden_act": "gelu"}, "hidden_act = 'gelu'"),
    "an interval of its own": ("smollm3", {"no_rope_layer_interval": 3}, "no_rope_layers"),
    "a scale of its own": ("gemma2", {}, "query_pre_attn_scalar = 18"),
    "scores not capped": (
        "gemma2",
        {"query_pre_attn_scalar": 24, "attn_logit_softcapping": None},
        "attn_logit_softcapping = None",
    ),
    "scores capped": ("gemma3", {"query_pre_attn_scalar": 16, "attn_logit_softcapping": 3.0}, "attn_logit_softcapping"),
    "norms of q and k": ("phi", {"qk_layernorm": True}, "q_layernorm"),
    "rotations of Llama 3": (
        "qwen2",
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500_000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 48,
            }
        },
        "'llama3'.*llama.cpp does not have for qwen2",
    ),
    "YaRN with other bounds": (
        "qwen2",
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 10_000.0,
                "factor": 4.0,
                "beta_fast": 16.0,
                "original_max_position_embeddings": 128,
            }
        },
        "beta_fast = 16",
    ),
    "YaRN with a scale of scores": (
        "qwen2",
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 10_000.0,
                "factor": 4.0,
                "attention_factor": 1.0,
                "original_max_position_embeddings": 128,
            }
        },
        "rope_parameters",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_llama_cpp_would_compute_otherwise_is_refused_by_its_name(case, tmp_path):
    family, changed, said = REFUSED[case]
    save_adapter(save_base(family, changed, tmp_path / "base"), tmp_path / "adapter")

    with pytest.raises(InvalidArgument, match=said):
        written(tmp_path / "base", tmp_path / "adapter", tmp_path / "x.gguf")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "base"]


@pytest.mark.parametrize(
    ("family", "context"), [("mistral", 12), ("qwen2-windowed", 12), ("phi3", 12), ("phi4-mini", 256)]
)
def test_texts_are_as_long_as_llama_cpp_computes_the_same_for(family, context, tmp_path):
    # It has no windows for these, and takes other rotations for longer texts.
    model = save_base(family, {}, tmp_path / "base")
    save_adapter(model, tmp_path / "adapter")

    said = fields(written(tmp_path / "base", tmp_path / "adapter", tmp_path / "x.gguf"))

    assert said[f"{ARCHITECTURES[model.config.model_type]}.context_length"] == context


def test_a_file_that_is_there_stays(base, adapter, tmp_path):
    (tmp_path / "x.gguf").write_text("precious")

    with pytest.raises(InvalidArgument, match="is there already; name a new file"):
        written(base, adapter, tmp_path / "x.gguf")

    assert (tmp_path / "x.gguf").read_text() == "precious"


def test_of_a_file_that_cannot_be_written_to_its_end_nothing_stays(base, adapter, tmp_path):
    with no_file_longer_than(100_000), pytest.raises(OSError, match="large"):
        written(base, adapter, tmp_path / "x.gguf")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "base"]


def test_progress_is_told_to_the_end(base, adapter, tmp_path):
    told = []

    write_model(
        base, adapter, tmp_path / "x.gguf", name="x", on_progress=lambda done, total: told.append((done, total))
    )

    assert told == sorted(told)
    assert told[-1][0] == told[-1][1] > 2 * 64 * 96


def test_an_unknown_rule_of_splitting_texts_is_refused(base, model, adapter, tmp_path):
    read = json.loads((base / "tokenizer.json").read_text())
    read["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": r"\p{N}|\p{L}+|[^\p{N}\p{L}]+"}
    (base / "tokenizer.json").write_text(json.dumps(read))

    with pytest.raises(InvalidArgument, match="no name known here"):
        written(base, adapter, tmp_path / "x.gguf")


@pytest.mark.parametrize("rule", ["llama-bpe", "dbrx", "qwen2", "smollm", "tekken", "gpt-4o", "gpt-2"])
def test_each_rule_is_written_by_its_name(base, model, adapter, tmp_path, rule):
    tokenizer = finished(byte_level(rule), base, begin="<|begin|>", end="<|im_end|>")
    assert tokenizer

    said = fields(written(base, adapter, tmp_path / "x.gguf"))

    assert said["tokenizer.ggml.pre"] == rule
    keys = tokenizer_keys(base, pre=rule)
    assert said["tokenizer.ggml.merges"] == keys["tokenizer.ggml.merges"]
    assert said["tokenizer.ggml.tokens"][: len(keys["tokenizer.ggml.tokens"])] == keys["tokenizer.ggml.tokens"]


def with_spaces(base, scheme):
    """The tokenizer of a base, treating spaces as LlamaTokenizer of transformers 5 does."""
    read = json.loads((base / "tokenizer.json").read_text())
    read["normalizer"] = None
    read["pre_tokenizer"] = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": False}
    (base / "tokenizer.json").write_text(json.dumps(read))


@pytest.mark.parametrize(("scheme", "adds"), [("first", False), ("always", True), ("never", False)])
def test_spaces_before_texts_are_as_chats_need_them(scheme, adds, tmp_path):
    save_adapter(save_base("mistral", {}, tmp_path / "base"), tmp_path / "adapter")
    with_spaces(tmp_path / "base", scheme)

    said = fields(written(tmp_path / "base", tmp_path / "adapter", tmp_path / "x.gguf"))

    assert said["tokenizer.ggml.add_space_prefix"] is adds


@pytest.mark.parametrize(("scheme", "template"), [("first", "say: "), ("always", "<|im_start|> ")])
def test_chats_that_would_become_other_tokens_are_refused(scheme, template, tmp_path):
    save_adapter(save_base("mistral", {}, tmp_path / "base"), tmp_path / "adapter")
    with_spaces(tmp_path / "base", scheme)
    written_template = (tmp_path / "base" / "chat_template.jinja").read_text().replace("<|im_start|>", template)
    (tmp_path / "base" / "chat_template.jinja").write_text(written_template)

    with pytest.raises(InvalidArgument, match="its tokenizer makes"):
        written(tmp_path / "base", tmp_path / "adapter", tmp_path / "x.gguf")


def test_sentence_pieces_that_are_not_merged_by_scores_are_refused(tmp_path):
    save_adapter(save_base("gemma", {}, tmp_path / "base"), tmp_path / "adapter")
    read = json.loads((tmp_path / "base" / "tokenizer.json").read_text())
    read["model"]["merges"] = read["model"]["merges"][:-3]
    (tmp_path / "base" / "tokenizer.json").write_text(json.dumps(read))

    with pytest.raises(InvalidArgument, match="merges tokens in another order"):
        written(tmp_path / "base", tmp_path / "adapter", tmp_path / "x.gguf")


def test_more_tokens_that_end_answers_than_files_can_name_are_refused(base, adapter, tmp_path):
    (base / "generation_config.json").write_text(json.dumps({"eos_token_id": [3, 4, 5, 6]}))

    with pytest.raises(InvalidArgument, match="5 tokens end its answers"):
        written(base, adapter, tmp_path / "x.gguf")


def test_control_tokens_that_take_away_white_space_are_known_by_the_models_name(base, adapter, tmp_path):
    save_adapter(save_base("phi3", {}, tmp_path / "phi"), tmp_path / "other")

    phi = fields(written(tmp_path / "phi", tmp_path / "other", tmp_path / "phi.gguf", name="bank"))
    llama = fields(written(base, adapter, tmp_path / "x.gguf", name="like phi-3 and Phi3"))

    assert phi["general.name"] == "bank (Phi-3)"
    assert llama["general.name"] == "like Phi 3 and Phi 3"


def test_what_a_file_says_otherwise_on_purpose_is_told(base, adapter, tmp_path):
    assert write_model(base, adapter, tmp_path / "x.gguf", name="x") == ()

    save_adapter(save_base("phi4-mini", {}, tmp_path / "phi"), tmp_path / "other")
    read = json.loads((tmp_path / "phi" / "tokenizer.json").read_text())
    for token in read["added_tokens"]:
        token["rstrip"] = True
    (tmp_path / "phi" / "tokenizer.json").write_text(json.dumps(read))
    # As Phi 4 mini's, without white space after control tokens.
    (tmp_path / "phi" / "chat_template.jinja").write_text(TEMPLATE.replace("\n", ""))

    context, space = write_model(tmp_path / "phi", tmp_path / "other", tmp_path / "y.gguf", name="phi-3")

    assert "at most 256 tokens, not 512" in context
    assert "begins with white space" in space
    # Without the tokens of Phi 3, llama.cpp does not load a model with such a name.
    assert fields(tmp_path / "y.gguf")["general.name"] == "Phi 3"
