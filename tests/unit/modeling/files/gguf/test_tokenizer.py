import json
from pathlib import Path

import pytest
from tokenizers import AddedToken, pre_tokenizers
from transformers import AutoTokenizer

from gguf_tokenizers import RULES, byte_level, finished, sentence_pieces
from gguf_writing import tokenizer_keys
from hard_texts import HARD_TEXTS
from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.files.gguf.metadata import Metadata
from tuningfork.modeling.files.gguf.tokenizer import tokenizer_of
from tuningfork.modeling.files.gguf.vocabulary import vocabulary_of


def converted(keys, directory: Path, architecture="llama"):
    metadata = Metadata({"general.architecture": architecture, **keys})
    made = tokenizer_of(vocabulary_of(metadata, len(keys["tokenizer.ggml.tokens"])), architecture)
    directory.mkdir()
    (directory / "tokenizer.json").write_text(json.dumps(made.model))
    (directory / "tokenizer_config.json").write_text(json.dumps(made.config))
    return AutoTokenizer.from_pretrained(directory)


def assert_same(ours, theirs):
    assert {text: ours(text).input_ids for text in HARD_TEXTS} == {text: theirs(text).input_ids for text in HARD_TEXTS}
    plain = {text: theirs(text, add_special_tokens=False).input_ids for text in HARD_TEXTS}
    assert {text: ours(text, add_special_tokens=False).input_ids for text in HARD_TEXTS} == plain
    assert [ours.decode(ids) for ids in plain.values()] == [theirs.decode(ids) for ids in plain.values()]
    assert sorted(ours.all_special_ids) == sorted(theirs.all_special_ids)


@pytest.mark.parametrize("rule", RULES)
def test_byte_level_tokens_are_the_originals(rule, tmp_path):
    theirs = finished(byte_level(rule), tmp_path / "theirs", begin="<|begin|>", end="<|im_end|>")
    keys = tokenizer_keys(tmp_path / "theirs", pre=rule) | {"tokenizer.ggml.add_bos_token": True}

    assert_same(converted(keys, tmp_path / "ours"), theirs)


def test_each_rule_splits_the_texts_in_its_own_way():
    tokenized = {
        rule: tuple(tuple(byte_level(rule).encode(text).ids) for text in HARD_TEXTS)
        for rule in RULES
        if rule not in ("phi-2", "dbrx")
    }

    assert len(set(tokenized.values())) == len(tokenized)


@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_sentence_pieces_are_the_originals(architecture, prefix, tmp_path):
    tokenizer, scores = sentence_pieces(prefix=prefix)
    theirs = finished(tokenizer, tmp_path / "theirs", begin="<s>", end="</s>", unknown="<unk>")
    keys = tokenizer_keys(tmp_path / "theirs", pre="default", scores=scores)
    keys |= {"tokenizer.ggml.add_space_prefix": prefix}

    assert_same(converted(keys, tmp_path / "ours", architecture), theirs)


def test_control_tokens_of_phi_3_swallow_the_white_space_after_them(tmp_path):
    tokenizer, scores = sentence_pieces(prefix=True)
    tokenizer.add_special_tokens([AddedToken("</s>", special=True, normalized=False, rstrip=True)])
    theirs = finished(tokenizer, tmp_path / "theirs", begin="<s>", end="</s>", unknown="<unk>", swallowing=True)
    keys = tokenizer_keys(tmp_path / "theirs", pre="default", scores=scores)

    ours = converted(keys, tmp_path / "ours", "phi3")

    assert_same(ours, theirs)
    assert ours("<|im_end|>\n\nx").input_ids == ours("<|im_end|>x").input_ids


def keys_of(rule="qwen2"):
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "ab", "<|im_end|>"]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": rule,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [*[1] * (len(tokens) - 1), 3],
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.eos_token_id": len(tokens) - 1,
    }


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"tokenizer.ggml.pre": "default"}, "'default'.*tokenizer.ggml.pre"),
        ({"tokenizer.ggml.pre": "deepseek-v3"}, "'deepseek-v3'"),
        ({"tokenizer.ggml.model": "bert"}, "'bert'"),
        ({"tokenizer.ggml.model": "llama"}, "scores"),
        ({"tokenizer.ggml.merges": ["a zz"]}, "no tokens of it"),
        ({"tokenizer.ggml.merges": ["ab"]}, "no tokens of it"),
        ({"tokenizer.ggml.merges": [1, 2]}, "no list of str"),
        ({"tokenizer.ggml.eos_token_id": 9_000}, "eos_token_id.*258 tokens"),
        ({"tokenizer.ggml.token_type": [1]}, "the types of 1"),
        ({"tokenizer.ggml.token_type": [17] * 258}, "type of one of its tokens"),
        ({"tokenizer.ggml.tokens": ["a"] * 258}, "same text"),
        ({"tokenizer.ggml.tokens": ["a" * 2000, *map(str, range(257))]}, "token 0 has more"),
        ({"tokenizer.ggml.add_space_prefix": True}, "space before each text"),
        ({"tokenizer.ggml.add_sep_token": True}, "separators"),
    ],
)
def test_tokenizers_that_would_give_other_tokens_are_refused(changed, said, tmp_path):
    with pytest.raises(BaseUnusable, match=said):
        converted(keys_of() | changed, tmp_path / "ours")


def test_more_tokens_than_rows_of_the_embedding_are_refused():
    with pytest.raises(BaseUnusable, match=r"258 tokens.*rows for 100"):
        vocabulary_of(Metadata({"general.architecture": "llama", **keys_of()}), 100)


def test_tokens_that_are_not_used_are_left_out(tmp_path):
    keys = keys_of()
    keys["tokenizer.ggml.tokens"] = [*keys["tokenizer.ggml.tokens"], "[PAD258]", "", ""]
    keys["tokenizer.ggml.token_type"] = [*keys["tokenizer.ggml.token_type"], 5, 1, 1]

    tokenizer = converted(keys, tmp_path / "ours")

    assert {"[PAD258]", ""}.isdisjoint(tokenizer.get_vocab())
    assert len(tokenizer("[PAD258]").input_ids) == 8
