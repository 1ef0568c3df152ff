import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma3Config

from small_files import no_file_longer_than
from tiny_models import DIALECTS, Architecture, build_tokenizer, configuration, save_tiny_model, trained_looking
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import InvalidArgument
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.adapters.weights import AdapterWeights
from tuningfork.modeling.chat_template import DEFAULT_TEMPLATE, ChatFormat
from tuningfork.modeling.loading import load_base
from tuningfork.modeling.merging import merge

SHAPE = AdapterShape(rank=4, alpha=6.0)
Q_PROJ = "model.layers.0.self_attn.q_proj"


@pytest.fixture(params=[torch.float32, torch.bfloat16, torch.float16], ids=str)
def stored(request, tmp_path) -> Path:
    """A base with a tied head, in each type that weights are stored in."""
    return save_tiny_model(Architecture.QWEN3, tmp_path / "stored", dtype=request.param)


@pytest.fixture
def base(tiny_llama, tmp_path) -> Path:
    """A base of the test's own."""
    return Path(shutil.copytree(tiny_llama.location, tmp_path / "base"))


@pytest.fixture
def weights(loaded_llama) -> AdapterWeights:
    return trained_looking(loaded_llama.slots, SHAPE, seed=1)


@pytest.fixture
def adapter(weights, loaded_llama, tmp_path) -> Path:
    return saved(tmp_path / "adapter", weights, base_fingerprint=loaded_llama.fingerprint)


def saved(directory, weights, **identity) -> Path:
    adapter_format.save(directory, weights, "elsewhere", **identity)
    return directory


def adapted(base: Path, entry, tmp_path) -> tuple[AdapterWeights, Path]:
    """An adapter that changes every layer of this base."""
    loaded = load_base(replace(entry, location=str(base)), dtype=torch.float32)
    weights = trained_looking(loaded.slots, SHAPE, seed=1)
    return weights, saved(tmp_path / "adapter", weights)


def plus(weight, weights, layer):
    a_RD, b_OR = (weights.tensors[f"base_model.model.{layer}.lora_{which}.weight"] for which in "AB")
    return torch.addmm(weight.float(), b_OR, a_RD, alpha=SHAPE.alpha / SHAPE.rank).to(weight.dtype)


def names_in(directory) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_adapted_weights_are_merged_in_fp32_and_the_others_are_the_same_to_the_bit(stored, tiny_llama, tmp_path):
    weights, adapter = adapted(stored, tiny_llama, tmp_path)

    merge(stored, adapter, tmp_path / "merged")

    before = load_file(stored / "model.safetensors")
    after = load_file(tmp_path / "merged" / "model.safetensors")
    assert list(before) == list(after)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    layers = {name.removesuffix(".weight") for name in changed}
    assert {f"base_model.model.{layer}.lora_A.weight" for layer in layers} == {
        name for name in weights.tensors if "lora_A" in name
    }
    for name in changed:
        assert torch.equal(after[name], plus(before[name], weights, name.removesuffix(".weight")))


def test_a_tied_head_stays_tied(tiny_directories, tiny_llama, tmp_path):
    _, adapter = adapted(tiny_directories["qwen3"], tiny_llama, tmp_path)

    merge(tiny_directories["qwen3"], adapter, tmp_path / "merged")

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert "lm_head.weight" not in load_file(tmp_path / "merged" / "model.safetensors")


def test_a_base_in_several_files_gives_the_same_files(base, adapter, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(base)
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    for path in base.glob("tokenizer*"):
        shutil.copy(path, tmp_path / "shards")

    merge(tmp_path / "shards", adapter, tmp_path / "merged")
    merge(base, adapter, tmp_path / "whole")

    assert len(list((tmp_path / "merged").glob("*.safetensors"))) > 2
    assert names_in(tmp_path / "merged") == names_in(tmp_path / "shards") | {"chat_template.jinja"}
    merged, whole = (AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("merged", "whole"))
    assert all(torch.equal(one, other) for one, other in zip(merged.parameters(), whole.parameters(), strict=True))


def test_a_weight_is_merged_however_many_blocks_it_takes(tmp_path):
    wide = torch.linspace(-1, 1, 2048 * 3000).view(2048, 3000).bfloat16()
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    save_file({"before": torch.ones(3), f"{Q_PROJ}.weight": wide}, tmp_path / "base" / "model.safetensors")
    generator = torch.Generator().manual_seed(2)
    tensors = {
        f"base_model.model.{Q_PROJ}.lora_A.weight": torch.randn(4, 3000, generator=generator),
        f"base_model.model.{Q_PROJ}.lora_B.weight": torch.randn(2048, 4, generator=generator),
    }
    weights = AdapterWeights(SHAPE, tensors)

    merge(tmp_path / "base", saved(tmp_path / "adapter", weights), tmp_path / "merged")

    after = load_file(tmp_path / "merged" / "model.safetensors")
    # Products of another height may sum in another order, which bf16 can round to a neighbour.
    assert torch.allclose(after[f"{Q_PROJ}.weight"], plus(wide, weights, Q_PROJ), rtol=2**-7, atol=1e-6)
    assert torch.equal(after["before"], torch.ones(3))


def test_layers_that_the_adapter_leaves_out_stay_the_bases(base, weights, tmp_path):
    few = AdapterWeights(SHAPE, {name: tensor for name, tensor in weights.tensors.items() if Q_PROJ in name})

    merge(base, saved(tmp_path / "adapter", few), tmp_path / "merged")

    before, after = (load_file(directory / "model.safetensors") for directory in (base, tmp_path / "merged"))
    assert [name for name in before if not torch.equal(before[name], after[name])] == [f"{Q_PROJ}.weight"]


def test_a_base_whose_files_have_older_names_is_merged_under_them(tiny_llama, tmp_path):
    tokenizer = build_tokenizer(DIALECTS[Architecture.GEMMA3])
    text = configuration(Architecture.GEMMA3, len(tokenizer) + 2, layers=2).to_dict()
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Gemma3Config(
        text_config=text,
        vision_config=vision | {"image_size": 28, "patch_size": 14},
        mm_tokens_per_image=4,
        image_token_index=len(tokenizer),
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    weights, adapter = adapted(tmp_path / "base", tiny_llama, tmp_path)

    merge(tmp_path / "base", adapter, tmp_path / "merged")

    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("base", "merged"))
    layer = "layers.1.mlp.down_proj"
    assert torch.equal(
        after[f"language_model.model.{layer}.weight"],
        plus(before[f"language_model.model.{layer}.weight"], weights, f"model.language_model.{layer}"),
    )


def test_all_that_makes_the_model_whole_is_copied_and_nothing_else(base, adapter, tmp_path):
    for name in ("LICENSE", "NOTICE.txt", "preprocessor_config.json", "vocab.txt"):
        (base / name).write_text("of the base")
    for name in ("README.md", "pytorch_model.bin", "modeling_own.py", "adapter_config.json", "other.index.json"):
        (base / name).write_text("not of the merged model")
    (base / "consolidated.safetensors").write_text("the same weights again")

    merge(base, adapter, tmp_path / "merged")

    assert names_in(tmp_path / "merged") == {
        *("config.json", "generation_config.json", "model.safetensors", "preprocessor_config.json"),
        *("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "vocab.txt", "LICENSE", "NOTICE.txt"),
    }


def test_a_base_without_a_chat_template_gets_the_one_that_it_is_served_with(base, adapter, tmp_path):
    (base / "chat_template.jinja").unlink()

    merge(base, adapter, tmp_path / "merged")

    assert AutoTokenizer.from_pretrained(tmp_path / "merged").chat_template == DEFAULT_TEMPLATE


def test_a_base_whose_tokenizer_does_not_begin_texts_gets_a_template_that_does_not_either(base, adapter, tmp_path):
    (base / "chat_template.jinja").unlink()
    read = json.loads((base / "tokenizer.json").read_text())
    (base / "tokenizer.json").write_text(json.dumps(read | {"post_processor": None}))
    settings = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps(settings | {"tokenizer_class": "PreTrainedTokenizerFast"}))
    prompt = Conversation(turns=(Turn.said(Speaker.USER, "hello"),))
    served = ChatFormat(AutoTokenizer.from_pretrained(base)).render_prompt(prompt)

    merge(base, adapter, tmp_path / "merged")

    merged = AutoTokenizer.from_pretrained(tmp_path / "merged")
    messages = [{"role": "user", "content": "hello"}]
    assert merged.apply_chat_template(messages, add_generation_prompt=True)["input_ids"] == served
    assert merged.bos_token_id not in served


def test_the_template_that_came_with_the_adapter_replaces_the_bases(base, adapter, tmp_path):
    path = base / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": "{{ 'own' }}"}))
    (adapter / "chat_template.jinja").write_text("{{ 'of the catalog' }}")

    merge(base, adapter, tmp_path / "merged")

    assert AutoTokenizer.from_pretrained(tmp_path / "merged").chat_template == "{{ 'of the catalog' }}"


def test_a_chat_template_among_the_tokenizers_settings_is_kept(base, adapter, tmp_path):
    (base / "chat_template.jinja").unlink()
    path = base / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": "{{ 'own' }}"}))

    merge(base, adapter, tmp_path / "merged")

    assert AutoTokenizer.from_pretrained(tmp_path / "merged").chat_template == "{{ 'own' }}"


def test_progress_is_told_to_the_end(base, adapter, tmp_path):
    on_progress = []

    merge(base, adapter, tmp_path / "merged", on_progress=lambda done, total: on_progress.append((done, total)))

    size = (base / "model.safetensors").stat().st_size
    assert on_progress[-1] == (size, size)
    assert [done for done, _ in on_progress] == sorted(done for done, _ in on_progress)


def test_a_base_of_another_shape_is_refused_with_both_shapes(adapter, tiny_directories, tmp_path):
    other = configuration(Architecture.LLAMA, 300, layers=2)
    other.intermediate_size = 64
    AutoModelForCausalLM.from_config(other).save_pretrained(tmp_path / "base")
    loose = saved(tmp_path / "loose", adapter_format.load(adapter))

    with pytest.raises(InvalidArgument, match=r"mlp.down_proj .* \(4, 48\) .* wants \(4, 64\)"):
        merge(tmp_path / "base", loose, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_base_without_one_of_the_layers_is_refused(base, weights, tmp_path):
    tensors = {name.replace("layers.1", "layers.7"): tensor for name, tensor in weights.tensors.items()}

    with pytest.raises(InvalidArgument, match=r"no weight for 7 of its 14 layers, such as model\.layers\.7"):
        merge(base, saved(tmp_path / "adapter", AdapterWeights(SHAPE, tensors)), tmp_path / "merged")


def test_a_base_of_the_same_shape_with_other_weights_is_refused(base, adapter, tmp_path):
    path = base / "model.safetensors"
    weights = load_file(path)
    weights["model.layers.1.mlp.up_proj.weight"] *= 2
    save_file(weights, path, metadata={"format": "pt"})

    with pytest.raises(InvalidArgument, match="are not those that the adapter was trained over"):
        merge(base, adapter, tmp_path / "merged")


def test_a_matrix_of_another_kind_is_refused(base, weights, tmp_path):
    tensors = {**weights.tensors, "base_model.model.lm_head.modules_to_save.weight": torch.ones(2, 2)}

    with pytest.raises(InvalidArgument, match="is no LoRA matrix"):
        merge(base, saved(tmp_path / "adapter", AdapterWeights(SHAPE, tensors)), tmp_path / "merged")


def test_an_adapter_that_is_not_finite_is_refused(base, weights, tmp_path):
    weights.tensors[f"base_model.model.{Q_PROJ}.lora_B.weight"][3, 1] = torch.inf

    with pytest.raises(InvalidArgument, match=rf"it is damaged: .*{Q_PROJ}.* not finite"):
        merge(base, saved(tmp_path / "adapter", weights), tmp_path / "merged")
    assert names_in(tmp_path) == {"base", "adapter"}


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:99])])
def test_weights_that_cannot_be_read_are_told(base, weights, tmp_path, damage):
    damage(base / "model.safetensors")

    with pytest.raises(InvalidArgument, match=r"cannot be read from .*model\.safetensors"):
        merge(base, saved(tmp_path / "adapter", weights), tmp_path / "merged")


def test_what_is_there_is_not_written_over(base, adapter, tmp_path):
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "precious").write_text("kept")

    with pytest.raises(InvalidArgument, match="is there already"):
        merge(base, adapter, tmp_path / "merged")
    assert names_in(tmp_path / "merged") == {"precious"}


def test_an_empty_directory_may_be_the_target(base, adapter, tmp_path):
    (tmp_path / "merged").mkdir()

    merge(base, adapter, tmp_path / "merged")

    assert "model.safetensors" in names_in(tmp_path / "merged")


def test_of_a_model_that_finds_no_room_nothing_is_left(base, adapter, tmp_path):
    too_little = (base / "model.safetensors").stat().st_size - 1

    with no_file_longer_than(too_little), pytest.raises(OSError, match="File too large"):
        merge(base, adapter, tmp_path / "merged")
    assert names_in(tmp_path) == {"base", "adapter"}


def test_too_little_room_is_found_before_anything_is_written(base, adapter, tmp_path):
    # Others may free some room meanwhile.
    room = 2 * shutil.disk_usage(tmp_path).free
    # A file with a hole takes no room itself.
    with (base / "model.safetensors").open("r+b") as file:
        header = int.from_bytes(file.read(8), "little")
        described = json.loads(file.read(header))
        file.seek(0)
        end = max(each["data_offsets"][1] for name, each in described.items() if name != "__metadata__")
        described["hole"] = {"dtype": "U8", "shape": [room], "data_offsets": [end, end + room]}
        content = json.dumps(described).encode()
        file.write(len(content).to_bytes(8, "little") + content)
        file.truncate(8 + len(content) + end + room)

    with pytest.raises(OSError, match=r"bytes, and [\d,]+ are free") as caught:
        merge(base, saved(adapter.with_name("loose"), adapter_format.load(adapter)), tmp_path / "merged")
    assert caught.value.errno == errno.ENOSPC
    assert names_in(tmp_path) == {"base", "adapter", "loose"}


def test_of_a_merge_that_is_interrupted_nothing_is_left(base, adapter, tmp_path):
    def interrupted(_done, _total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge(base, adapter, tmp_path / "merged", on_progress=interrupted)
    assert names_in(tmp_path) == {"base", "adapter"}
