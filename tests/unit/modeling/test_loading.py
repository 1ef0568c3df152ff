import dataclasses
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BloomConfig, GPT2Config, Lfm2Config

from tiny_models import CONTEXT_TOKENS, packed_logits
from tuningfork.domain.base_model import BaseModel
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import BaseUnusable, InternalError
from tuningfork.modeling.device.processor import native_dtype
from tuningfork.modeling.loading import load_base

QUESTION = Conversation(turns=(Turn.said(Speaker.USER, "1"),))


@pytest.fixture
def copied(tiny_llama, tmp_path) -> BaseModel:
    """A base in a directory of the test's own, to be damaged."""
    directory = shutil.copytree(tiny_llama.location, tmp_path / "model")
    return dataclasses.replace(tiny_llama, location=str(directory))


def replace_model(base: BaseModel, config) -> BaseModel:
    AutoModelForCausalLM.from_config(config).save_pretrained(base.location)
    return base


def test_a_loaded_base_computes_what_transformers_computes(tiny_base):
    base = load_base(tiny_base, dtype=torch.float32)
    plain = AutoModelForCausalLM.from_pretrained(tiny_base.location, attn_implementation="eager")
    ids = torch.randint(0, 200, (40,), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours_TV = packed_logits(base, [ids.tolist()], None)[0]
        theirs_TV = plain(ids[None]).logits[0]
    torch.testing.assert_close(ours_TV, theirs_TV, rtol=1e-5, atol=1e-5)


def test_a_base_is_loaded_in_what_the_processor_computes_in(tiny_llama):
    base = load_base(tiny_llama)
    assert base.dtype == native_dtype(torch.device("cpu"))
    assert base.slots.dtype == base.model.dtype == base.dtype


def test_the_context_is_the_shorter_of_the_catalogs_and_the_models(tiny_llama):
    assert load_base(dataclasses.replace(tiny_llama, context_tokens=100)).context_tokens == 100
    assert load_base(dataclasses.replace(tiny_llama, context_tokens=10**6)).context_tokens == CONTEXT_TOKENS


def test_the_catalogs_template_is_used(tiny_llama):
    template = "{% for m in messages %}{{ '<' + m.content + '>' + eos_token }}{% endfor %}"
    base = load_base(dataclasses.replace(tiny_llama, chat_template=template))
    assert base.chat.tokenizer.decode(base.chat.render_prompt(QUESTION)).startswith("<1>")


def test_the_ends_of_the_generation_config_end_turns(tiny_base):
    base = load_base(tiny_base)
    saved = json.loads((Path(tiny_base.location) / "generation_config.json").read_text())
    assert base.chat.end_of_turn_ids >= set(saved["eos_token_id"])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_weights_that_need_no_conversion_stay_in_the_file(tiny_llama):
    base = load_base(tiny_llama, dtype=torch.float32)
    address = base.model.get_input_embeddings().weight.data_ptr()
    holders = [line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if within(line, address)]
    assert holders == [str(Path(tiny_llama.location) / "model.safetensors")]


def within(line: str, address: int) -> bool:
    begin, end = (int(part, 16) for part in line.split(maxsplit=1)[0].split("-"))
    return begin <= address < end


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["config.json"], "config.json"),
        (["model.safetensors"], "weights in the safetensors format"),
        (["tokenizer.json", "tokenizer_config.json"], "a tokenizer"),
    ],
)
def test_a_file_that_is_missing_is_named(copied, names, what):
    for name in names:
        (Path(copied.location) / name).unlink()
    with pytest.raises(BaseUnusable, match=f"lacks {what}"):
        load_base(copied)


def test_pickled_weights_are_not_read(copied):
    weights = Path(copied.location) / "model.safetensors"
    torch.save(load_file(weights), weights.with_name("pytorch_model.bin"))
    weights.unlink()
    with pytest.raises(BaseUnusable, match=r"pickled weights .* are never read"):
        load_base(copied)


def test_code_that_comes_with_a_model_is_not_run(copied, tmp_path):
    config = Path(copied.location) / "config.json"
    own = {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}}
    config.write_text(json.dumps(json.loads(config.read_text()) | own))
    (Path(copied.location) / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(BaseUnusable, match="could not be loaded"):
        load_base(copied)
    assert not (tmp_path / "ran").exists()


def test_weights_that_are_missing_are_not_made_up(copied):
    path = Path(copied.location) / "model.safetensors"
    weights = load_file(path)
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(BaseUnusable, match=r"lacks 1 of its weights, such as model.layers.1.mlp.up_proj.weight"):
        load_base(copied)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_damaged_file_is_told(copied, name):
    path = Path(copied.location) / name
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BaseUnusable, match="could not be loaded"):
        load_base(copied)


def test_a_directory_that_is_not_there_is_told(tiny_llama, tmp_path):
    with pytest.raises(BaseUnusable, match="there is no directory"):
        load_base(dataclasses.replace(tiny_llama, location=str(tmp_path / "nowhere")))


def test_an_architecture_without_pluggable_attention_is_refused(copied):
    config = BloomConfig(hidden_size=32, n_layer=2, n_head=4, vocab_size=300)
    with pytest.raises(BaseUnusable, match="0 of the 2 layers of BloomForCausalLM attend"):
        load_base(replace_model(copied, config))


def test_an_architecture_with_layers_that_do_not_attend_is_refused(copied):
    config = Lfm2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=32,
        layer_types=["conv", "full_attention"],
        vocab_size=300,
    )
    with pytest.raises(BaseUnusable, match="1 of the 2 layers of Lfm2ForCausalLM attend"):
        load_base(replace_model(copied, config))


def test_an_architecture_without_linear_layers_is_refused(copied):
    config = GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=300)
    with pytest.raises(InternalError, match=r"GPT2LMHeadModel has no torch.nn.Linear layers"):
        load_base(replace_model(copied, config))
