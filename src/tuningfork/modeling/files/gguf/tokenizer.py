"""Makes the tokenizer that a GGUF file describes, in the form of the tokenizers library (`tokenizer.json`).

A file has the tokens and the order of their merges, and only the name of the rule that splits texts into words before.
What else belongs to the rule, such as the normalization of Unicode, is known for each name, or the file is refused.

Source: `src/llama-vocab.cpp` of llama.cpp, and the tokenizer.json of the model that each rule is named after.
"""

from dataclasses import dataclass
from typing import Any

from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.files.gguf.vocabulary import Kind, Vocabulary

Json = dict[str, Any]

_GPT_2: Json = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_BYTES: Json = _GPT_2 | {"use_regex": False}
_DIGITS: Json = {"type": "Digits", "individual_digits": True}

NOT_SWALLOWING = ("<unk>", "<s>", "<|endoftext|>")
"""The tokens of models like Phi 3 that leave the white space after them."""
_MOST_PAIRED_CHARACTERS = 500_000_000
"""The most characters of all pairs that the tokens can be divided into. Those of Gemma 3 have 14 million."""

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_REST_WITH_SLASH = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA_3 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _REST
_QWEN_2 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _REST
_CASED = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+%s"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*%s"
)
_TEKKEN = _CASED % ("", "") + r"|\p{N}" + _REST_WITH_SLASH
_GPT_4O = _CASED % (_CONTRACTIONS + "?", _CONTRACTIONS + "?") + r"|\p{N}{1,3}" + _REST_WITH_SLASH


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """How texts are split. `whole_words`: a word that is a token is not merged from smaller ones."""

    steps: tuple[Json, ...]
    normalizer: Json | None = None
    whole_words: bool = False
    adds_begin: bool = False


def _split(pattern: str) -> tuple[Json, ...]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}, _BYTES


_NFC: Json = {"type": "NFC"}
_RULES = {
    **dict.fromkeys(
        ("llama-bpe", "llama3", "llama-v3"), _Rule(steps=_split(_LLAMA_3), whole_words=True, adds_begin=True)
    ),
    "dbrx": _Rule(steps=_split(_LLAMA_3)),
    "qwen2": _Rule(steps=_split(_QWEN_2), normalizer=_NFC),
    "smollm": _Rule(steps=(_DIGITS, _GPT_2)),
    "tekken": _Rule(steps=_split(_TEKKEN), whole_words=True, adds_begin=True),
    "gpt-4o": _Rule(steps=_split(_GPT_4O)),
    **dict.fromkeys(("gpt-2", "phi-2"), _Rule(steps=(_GPT_2,))),
}
"""The rules by their names in files (`tokenizer.ggml.pre`)."""


def rule_named(pre_tokenizer: Json | None, normalizer: Json | None, *, whole_words: bool) -> str | None:
    """The name of the rule by which a `tokenizer.json` splits texts; None: no rule that is known here.

    Args:
        pre_tokenizer: as in the file.
        normalizer: as in the file; None: it has none.
        whole_words: whether words that are tokens are not merged (`ignore_merges`).

    """
    if pre_tokenizer is None:
        return None
    steps = pre_tokenizer["pretokenizers"] if pre_tokenizer["type"] == "Sequence" else [pre_tokenizer]
    wanted = [_essential(step) for step in steps]
    fitting = (
        name
        for name, rule in _RULES.items()
        if [_essential(step) for step in rule.steps] == wanted
        and (rule.normalizer, rule.whole_words) == (normalizer, whole_words)
    )
    return next(fitting, None)


def _essential(step: Json) -> Json:
    """What of a step decides on tokens; the patterns here cover every text, so that keeping matches is splitting."""
    kept = {name: value for name, value in step.items() if name != "trim_offsets"}
    if (kept.get("behavior"), kept.get("invert")) == ("Removed", True):
        kept |= {"behavior": "Isolated", "invert": False}
    return kept


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A tokenizer: the contents of `tokenizer.json` and of `tokenizer_config.json`."""

    model: Json
    config: Json


def tokenizer_of(vocabulary: Vocabulary, architecture: str) -> Tokenizer:
    """The tokenizer of a file with these tokens.

    Raises:
        BaseUnusable: it is of a kind, or splits texts by a rule, that is not known here.

    """
    if vocabulary.model == "gpt2":
        parts, adds_begin = _byte_level(vocabulary)
    elif vocabulary.model == "llama":
        parts, adds_begin = _sentence_pieces(vocabulary, architecture), True
    else:
        raise BaseUnusable(
            f"its tokenizer is of the kind {vocabulary.model!r}, and 'gpt2' (byte-level BPE) and 'llama' "
            "(SentencePiece) can be converted"
        )
    if vocabulary.adds_begin is not None:
        adds_begin = vocabulary.adds_begin
    model: Json = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added(vocabulary, architecture),
        **parts,
        "post_processor": _ends(vocabulary, adds_begin=adds_begin),
    }
    return Tokenizer(model, _config(vocabulary))


def _byte_level(vocabulary: Vocabulary) -> tuple[Json, bool]:
    rule = _RULES.get(vocabulary.splitting or "")
    if rule is None:
        raise BaseUnusable(
            f"its tokenizer splits texts by the rule {vocabulary.splitting!r} (tokenizer.ggml.pre), which is not known "
            f"here; known are {', '.join(map(repr, _RULES))}. Texts would become other tokens than the model knows"
        )
    if vocabulary.adds_space:
        raise BaseUnusable("its tokenizer puts a space before each text, which no byte-level tokenizer known here does")
    if vocabulary.merges is None:
        raise BaseUnusable("its metadata lacks 'tokenizer.ggml.merges'")
    tokens = _numbers(vocabulary)
    steps = list(rule.steps)
    return {
        "normalizer": rule.normalizer,
        "pre_tokenizer": steps[0] if len(steps) == 1 else {"type": "Sequence", "pretokenizers": steps},
        "decoder": _GPT_2,
        "model": {
            "type": "BPE",
            "unk_token": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": rule.whole_words,
            "vocab": tokens,
            "merges": _checked(vocabulary.merges, tokens),
        },
    }, rule.adds_begin


def _checked(merges: Any, tokens: dict[str, int]) -> list[tuple[str, str]]:
    pairs = []
    for merge in merges:
        # A token may be a space itself, as the first one only.
        place = merge.find(" ", 1)
        pair = (merge[:place], merge[place + 1 :]) if place > 0 else ("", "")
        if not all(part in tokens for part in (*pair, "".join(pair))):
            raise BaseUnusable(f"its tokenizer merges {merge[:80]!r}, which are no tokens of it")
        pairs.append(pair)
    return pairs


def _sentence_pieces(vocabulary: Vocabulary, architecture: str) -> Json:
    if vocabulary.scores is None:
        raise BaseUnusable("its metadata lacks 'tokenizer.ggml.scores', by which its tokenizer merges")
    if vocabulary.unknown is None or not any(kind is Kind.BYTE for kind in vocabulary.kinds):
        raise BaseUnusable("its SentencePiece tokenizer has no unknown token, or no tokens for single bytes")
    tokens = _numbers(vocabulary)
    if sum(len(text) ** 2 for text in tokens) > _MOST_PAIRED_CHARACTERS:
        raise BaseUnusable("its tokens are far longer than those of any SentencePiece tokenizer")
    space: Json = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    back: Json = {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}
    steps: list[Json] = [back, {"type": "ByteFallback"}, {"type": "Fuse"}]
    normalizer = space
    # Files that do not say it are older than the key, and of Llama's kind.
    if vocabulary.adds_space is None or vocabulary.adds_space:
        normalizer = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}, space]}
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    by_number = architecture.startswith("gemma")
    return {
        "normalizer": normalizer,
        "pre_tokenizer": None,
        "decoder": {"type": "Sequence", "decoders": steps},
        "model": {
            "type": "BPE",
            "unk_token": vocabulary.named(vocabulary.unknown),
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": tokens,
            "merges": _merges(tokens, None if by_number else vocabulary.scores),
        },
    }


def _merges(tokens: dict[str, int], scores: Any) -> list[tuple[str, str]]:
    """The merges of a SentencePiece vocabulary, the best first: each token, from any two tokens that it consists of.

    By scores, or in the order of the tokens (Gemma, as its tokenizer.json has them). Ties and pairs of one token are
    in the order of transformers' conversion of SentencePiece models (`generate_merges`).
    """
    found = []
    for text, number in tokens.items():
        pairs = ((text[:place], text[place:]) for place in range(1, len(text)))
        known = [pair for pair in pairs if pair[0] in tokens and pair[1] in tokens]
        known.sort(key=lambda pair: (tokens[pair[0]], tokens[pair[1]]))
        rank = number if scores is None else scores[number]
        found += [(rank, *pair) for pair in known]
    found.sort(key=lambda merge: (merge[0], len(merge[1]), len(merge[2])), reverse=scores is not None)
    return [(left, right) for _, left, right in found]


def _numbers(vocabulary: Vocabulary) -> dict[str, int]:
    """The tokens' numbers by their texts as models of tokenizers have them; without those that are never used."""
    return {
        _spelled(vocabulary, text): number
        for number, (text, kind) in enumerate(zip(vocabulary.texts, vocabulary.kinds, strict=True))
        if kind is not Kind.UNUSED
    }


def _spelled(vocabulary: Vocabulary, text: str) -> str:
    # llama.cpp's converter writes Gemma's tokens of several spaces as spaces.
    return text.replace(" ", "\u2581") if vocabulary.model == "llama" and not text.strip(" ") else text


def _added(vocabulary: Vocabulary, architecture: str) -> list[Json]:
    """The tokens that are found in a text before it is split.

    Those of Phi 3 swallow the white space after them, which its files do not say and its tokenizer.json does.
    Tokens of several spaces are merged by SentencePiece models (Gemma), and found by byte-level ones (Phi 1 and 2).
    """
    swallowing = vocabulary.model == "llama" and architecture == "phi3"
    return [
        {
            "id": number,
            "content": text,
            "single_word": False,
            "lstrip": False,
            "rstrip": swallowing and text not in NOT_SWALLOWING,
            "normalized": False,
            "special": kind is not Kind.USER_DEFINED,
        }
        for number, (text, kind) in enumerate(zip(vocabulary.texts, vocabulary.kinds, strict=True))
        if kind is Kind.CONTROL
        or (number == vocabulary.unknown and kind is Kind.UNKNOWN)
        or (kind is Kind.USER_DEFINED and (vocabulary.model != "llama" or text.strip(" ")))
    ]


def _ends(vocabulary: Vocabulary, *, adds_begin: bool) -> Json | None:
    """What goes before and after a text."""
    begin = vocabulary.begin if adds_begin else None
    end = vocabulary.end if vocabulary.adds_end else None
    if begin is None and end is None:
        return None
    special = {vocabulary.texts[token]: token for token in (begin, end) if token is not None}

    def template(*texts: str) -> list[Json]:
        around = [
            [{"SpecialToken": {"id": vocabulary.texts[token], "type_id": 0}}] if token is not None else []
            for token in (begin, end)
        ]
        pieces: list[Json] = []
        for number, text in enumerate(texts):
            pieces += [*around[0], {"Sequence": {"id": text, "type_id": number}}, *around[1]]
        return pieces

    return {
        "type": "TemplateProcessing",
        "single": template("A"),
        "pair": template("A", "B"),
        "special_tokens": {text: {"id": text, "ids": [token], "tokens": [text]} for text, token in special.items()},
    }


def _config(vocabulary: Vocabulary) -> Json:
    named = {
        "bos_token": vocabulary.begin,
        "eos_token": vocabulary.end,
        "unk_token": vocabulary.unknown,
        "pad_token": vocabulary.padding,
    }
    return {
        # The class that takes tokenizer.json as it is; transformers 4 and 5 know it.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 10**30,
        **{name: vocabulary.texts[token] for name, token in named.items() if token is not None},
    }
