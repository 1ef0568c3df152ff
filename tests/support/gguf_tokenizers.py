"""Tokenizers of the kinds that GGUF files can name, with the rules as the models' own tokenizer.json has them."""

import json
from collections import Counter

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast
from transformers.tokenization_utils_base import generate_merges

from hard_texts import HARD_TEXTS

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
