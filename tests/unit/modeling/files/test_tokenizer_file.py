"""Tokenizers make the tokens of their `tokenizer.json`, whatever class their configuration names."""

import json

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tuningfork.domain.base_model import BaseModel
from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.describing import load_tokenizer

TEXT = "<|user|>A 12 b<|end|>"
CLASSES = ("GPT2Tokenizer", "GPT2TokenizerFast", "LlamaTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend")


def saved(directory, named, **more):
    """Write a tokenizer that splits numbers into digits and makes letters small, though it knows `12` and `A`."""
    merges = [("1", "2"), ("Ġ", "1")]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*letters, *map("".join, merges)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.normalizer = normalizers.Lowercase()
    digits, byte_level = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(each, special=True) for each in ("<|user|>", "<|end|>")])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>").save_pretrained(directory)
    path = directory / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tokenizer_class": named} | more))
    return tokenizer


def base_in(directory):
    return BaseModel(name="models/x", display_name="x", location=str(directory), context_tokens=8)


@pytest.mark.parametrize("named", CLASSES)
def test_tokens_are_those_of_the_file_for_each_class(named, tmp_path):
    wanted = saved(tmp_path, named).encode(TEXT, add_special_tokens=False)

    loaded = load_tokenizer(base_in(tmp_path), str(tmp_path))

    ids = loaded(TEXT, add_special_tokens=False).input_ids
    assert loaded.convert_ids_to_tokens(ids) == wanted.tokens == ["<|user|>", "a", "Ġ", "1", "2", "Ġ", "b", "<|end|>"]
    assert ids == wanted.ids
    assert loaded.decode(ids) == "<|user|>a 12 b<|end|>"
    assert loaded.eos_token == "<|end|>"


def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path):
    saved(tmp_path, "GPT2Tokenizer")
    path = tmp_path / "tokenizer.json"
    read = json.loads(path.read_text())
    read["model"]["merges"] = [["a", "no token"]]
    path.write_text(json.dumps(read))

    with pytest.raises(BaseUnusable, match=r"the tokenizer of base model models/x .*no token"):
        load_tokenizer(base_in(tmp_path), str(tmp_path))
