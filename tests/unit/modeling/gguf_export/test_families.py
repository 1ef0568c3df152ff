import warnings

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from families import WINDOW
from gguf_cases import CASES
from gguf_exports import add_adapter, save_adapter, save_base
from hard_texts import HARD_TEXTS
from tuningfork.domain.file_types import FileType
from tuningfork.modeling.files.gguf.conversion import convert
from tuningfork.modeling.gguf_export.model_file import write_model

TEXT_TOKENS = WINDOW


def read_again(file, directory):
    directory.mkdir()
    convert(file, directory, lambda *_: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, report = AutoModelForCausalLM.from_pretrained(
            directory, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
        )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    return model.eval(), AutoTokenizer.from_pretrained(directory)


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_a_written_model_reads_as_the_merged_one(case, tmp_path):
    model = save_base(*CASES[case], tmp_path / "base")
    adapter = save_adapter(model, tmp_path / "adapter")

    write_model(tmp_path / "base", tmp_path / "adapter", tmp_path / "x.gguf", name="x", file_type=FileType.F32)

    other, tokens = read_again(tmp_path / "x.gguf", tmp_path / "read")
    add_adapter(model, adapter)
    model.set_attn_implementation("eager")
    ours, theirs = other.state_dict(), model.state_dict()
    assert ours.keys() == theirs.keys()
    assert [name for name in theirs if not torch.allclose(ours[name], theirs[name], atol=1e-6, rtol=1e-6)] == []
    ids = torch.randint(0, model.config.vocab_size - 8, (1, TEXT_TOKENS), generator=torch.Generator().manual_seed(3))
    assert torch.allclose(other(ids).logits, model(ids).logits, atol=5e-5, rtol=1e-5)
    original = AutoTokenizer.from_pretrained(tmp_path / "base")
    # What a file adds to texts follows from the chats of serving (`test_model_file.py`), not from the original.
    read, wanted = (
        [each(text, add_special_tokens=False).input_ids for text in HARD_TEXTS] for each in (tokens, original)
    )
    assert read == wanted
    assert tokens.chat_template == original.chat_template
    assert other.generation_config.eos_token_id == [original.eos_token_id, 7]


@torch.no_grad()
def test_of_a_model_that_sees_pictures_the_language_model_is_written(tmp_path):
    model = save_base("gemma3-with-vision", {"query_pre_attn_scalar": 16}, tmp_path / "base")
    adapter = save_adapter(model, tmp_path / "adapter")

    write_model(tmp_path / "base", tmp_path / "adapter", tmp_path / "x.gguf", name="x", file_type=FileType.F32)

    other, _ = read_again(tmp_path / "x.gguf", tmp_path / "read")
    add_adapter(model, adapter)
    ids = torch.randint(0, 800, (1, TEXT_TOKENS), generator=torch.Generator().manual_seed(3))
    assert torch.allclose(other(ids).logits, model(input_ids=ids).logits, atol=5e-5, rtol=1e-5)
