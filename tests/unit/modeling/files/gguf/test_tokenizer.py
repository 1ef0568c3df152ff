import json
from collections import Counter
from pathlib import Path

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.tokenization_utils_base import generate_merges

from gguf_writing import tokenizer_keys
from hard_texts import HARD_TEXTS
from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.files.gguf.metadata import Metadata
from tuningfork.modeling.files.gguf.tokenizer import tokenizer_of
from tuningfork.modeling.files.gguf.vocabulary import vocabulary_of

CORPUS = [*HARD_TEXTS, "the quick brown fox 1234 5678 1234 don't don't    \n\n\n    return return\n"] * 8
CONTROL = ("<|begin|>", "<|im_start|>", "<|im_end|>")
SPOKEN = ("<think>", "</think>")

# The rules as the models' own tokenizer.json has them.
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
QWEN_2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT_4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def split(pattern):
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


GPT_2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
RULES = {
    "llama-bpe": (split(LLAMA_3), None, True),
    "dbrx": (split(LLAMA_3), None, False),
    "qwen2": (split(QWEN_2), normalizers.NFC(), False),
    "smollm": (pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT_2]), None, False),
    "tekken": (split(TEKKEN), None, True),
    "gpt-4o": (split(GPT_4O), None, False),
    "gpt-2": (GPT_2, None, False),
    "phi-2": (GPT_2, None, False),
}


def byte_level(rule):
    """A tokenizer whose merges cross every border that a rule may draw, so that each rule tells."""
    before, normalizer, whole_words = RULES[rule]
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trained.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=900, initial_alphabet=alphabet, show_progress=False)
    )
    model = json.loads(trained.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=model["vocab"], merges=merges, ignore_merges=whole_words))
    tokenizer.pre_tokenizer = before
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def sentence_pieces(*, prefix):
    """A tokenizer of SentencePiece's kind, as transformers converts one, and the scores of its tokens."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", "\u2581")
    # Where characters are equally frequent, the trainer's own limit leaves out other ones in each process.
    counted = Counter("".join(CORPUS).replace(" ", ""))
    kept = {" ", *sorted(counted, key=lambda character: (-counted[character], character))[:89]}
    corpus = ["".join(character for character in text if character in kept) for text in CORPUS if text.strip()]
    trained.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=700, show_progress=False))
    learned = [piece for piece, _ in sorted(trained.get_vocab().items(), key=lambda each: each[1])]
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    pieces = list(dict.fromkeys(["<unk>", "<s>", "</s>", *bytes_, *learned]))
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    scores = [0.0 if number < 259 else -float(number - 259) for number in range(len(pieces))]
    merges = generate_merges(vocabulary, dict(zip(pieces, scores, strict=True)))
    model = models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    tokenizer = Tokenizer(model)
    space = normalizers.Replace(" ", "\u2581")
    back = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), space]) if prefix else space
    tokenizer.decoder = decoders.Sequence([*back, decoders.Strip(" ", 1, 0)] if prefix else back)
    tokenizer.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in ("<unk>", "<s>", "</s>")]
    )
    return tokenizer, scores


def finished(tokenizer, directory, *, begin, end, unknown=None, swallowing=False):
    names = CONTROL if unknown is None else CONTROL[1:]
    how = {"normalized": False, "rstrip": swallowing}
    tokenizer.add_special_tokens([AddedToken(name, special=True, **how) for name in names])
    tokenizer.add_tokens([AddedToken(name, special=False, **how) for name in SPOKEN])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, tokenizer.token_to_id(begin))]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=begin,
        eos_token=end,
        unk_token=unknown,
        clean_up_tokenization_spaces=False,
    )
    fast.save_pretrained(directory)
    return fast


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
