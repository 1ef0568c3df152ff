"""A tokenizer as keys of a GGUF file: the way back from `files/gguf/tokenizer`, by the same table of rules."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.files.gguf.header import Value
from tuningfork.modeling.files.gguf.tokenizer import NOT_SWALLOWING, Json, rule_named
from tuningfork.modeling.files.gguf.vocabulary import Kind

SPACE = "\u2581"
_REPLACE: Json = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
_NO_TOKEN = 2**32 - 1
"""The number that files give for a token that there is not."""
_MOST_ENDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenTokenizer:
    """The keys of a tokenizer.

    `original`: its `tokenizer.json`, as transformers loaded it. `swallows`: control tokens take away the white space
    after them, and llama.cpp does so for models whose name has "phi-3". `keeps_space`: they do, and llama.cpp does not.
    `exact`: texts become the same tokens in llama.cpp wherever they stand; otherwise it is known only for chats, which
    have to be compared.
    """

    keys: dict[str, Value]
    original: Json
    swallows: bool
    keeps_space: bool
    exact: bool


def written_tokenizer(
    tokenizer: PreTrainedTokenizerBase, *, rows: int, ends: Sequence[int], template: str, begins: bool
) -> WrittenTokenizer:
    """How a file says this tokenizer.

    Args:
        tokenizer: as transformers loaded it.
        rows: of the embedding; each becomes a token.
        ends: the tokens that end an answer. If the tokenizer has an end-of-sequence token, it is the first of them.
        template: the chat template.
        begins: chats begin with the beginning-of-sequence token. llama.cpp adds it to each text, also to chats, whose
            templates need not write it; it never adds an end to a prompt.

    Raises:
        BaseUnusable: llama.cpp has no such tokenizer.

    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise BaseUnusable("its tokenizer is not one of the tokenizers library (tokenizer.json)")
    original: Json = json.loads(backend.to_str())
    model = original["model"]
    if model["type"] != "BPE" or any(model.get(name) for name in _UNKNOWN_OPTIONS):
        raise BaseUnusable(
            f"its tokenizer is of the kind {model['type']} with "
            f"{', '.join(name for name in _UNKNOWN_OPTIONS if model.get(name)) or 'no further options'}, and files can "
            "say plain BPE only"
        )
    pieces = bool(model["byte_fallback"])
    texts = _texts(original, rows)
    kinds = _kinds(original, texts, rows, tokenizer.unk_token if pieces else None)
    swallows, keeps_space = _white_space(original)
    own, exact = _sentence_pieces(original, rows) if pieces else (_byte_level(original), True)
    return WrittenTokenizer(
        keys={
            **own,
            "tokenizer.ggml.tokens": _padded(texts, rows),
            "tokenizer.ggml.token_type": [int(kind) for kind in kinds],
            **_special(tokenizer, ends, pieces=pieces),
            "tokenizer.ggml.add_bos_token": begins,
            "tokenizer.ggml.add_eos_token": False,
            "tokenizer.chat_template": template,
        },
        original=original,
        swallows=swallows,
        keeps_space=keeps_space,
        exact=exact,
    )


_UNKNOWN_OPTIONS = ("dropout", "continuing_subword_prefix", "end_of_word_suffix")


def merges_of(original: Json) -> list[tuple[str, str]]:
    """The merges of a tokenizer.json, which older ones write as one text each."""
    merges = original["model"]["merges"]
    pairs = (each.split(" ", 1) if isinstance(each, str) else each for each in merges)
    return [(left, right) for left, right in pairs]


def vocabulary_in(original: Json) -> dict[str, int]:
    """The numbers of all tokens of a tokenizer.json by their texts."""
    vocabulary: dict[str, int] = original["model"]["vocab"]
    return vocabulary | {token["content"]: token["id"] for token in original["added_tokens"]}


def _texts(original: Json, rows: int) -> dict[int, str]:
    texts: dict[int, str] = {}
    for text, number in vocabulary_in(original).items():
        if texts.setdefault(number, text) != text:
            raise BaseUnusable(f"two of its tokens, {texts[number]!r} and {text!r}, have the number {number}")
        if number >= rows:
            raise BaseUnusable(f"its token {text!r} has the number {number}, and its embedding has {rows} rows")
        if not text:
            raise BaseUnusable(f"its token {number} has no text")
    return texts


def _padded(texts: Mapping[int, str], rows: int) -> list[str]:
    taken = set(texts.values())
    padded = []
    for number in range(rows):
        text = texts.get(number)
        if text is None:
            text = f"[PAD{number}]"
            while text in taken:
                text = f"[{text}]"
        padded.append(text)
    return padded


def _kinds(original: Json, texts: Mapping[int, str], rows: int, unknown: str | None) -> list[Kind]:
    added = {token["id"]: token["special"] for token in original["added_tokens"]}
    pieces = original["model"]["byte_fallback"]
    kinds = [Kind.UNUSED] * rows
    for number, text in texts.items():
        if number in added:
            kinds[number] = Kind.CONTROL if added[number] else Kind.USER_DEFINED
            if added[number] and text == unknown:
                kinds[number] = Kind.UNKNOWN
        elif pieces and len(text) == len("<0x00>") and text.startswith("<0x"):
            kinds[number] = Kind.BYTE
        else:
            kinds[number] = Kind.NORMAL
    return kinds


def _byte_level(original: Json) -> dict[str, Value]:
    model, merges = original["model"], merges_of(original)
    before = original["pre_tokenizer"]
    rule = rule_named(before, original["normalizer"], whole_words=bool(model.get("ignore_merges")))
    # Bytes that nothing merges are the same tokens by any rule.
    if rule is None and not merges and original["normalizer"] is None and before.get("type") == "ByteLevel":
        rule = "gpt-2" if not before["add_prefix_space"] else None
    if rule is None:
        raise BaseUnusable(
            "its tokenizer splits texts into words by a rule (pre_tokenizer, normalizer and ignore_merges in its "
            f"tokenizer.json) that has no name known here: {json.dumps(before, ensure_ascii=False)[:300]}"
        )
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": rule,
        "tokenizer.ggml.merges": [" ".join(merge) for merge in merges],
    }


def _sentence_pieces(original: Json, rows: int) -> tuple[dict[str, Value], bool]:
    adds_space, exact = _leading_space(original)
    # Tokens that nothing is merged to are found as characters or as control tokens: their scores mean nothing.
    scores = [0.0] * rows
    numbers = vocabulary_in(original)
    merged = dict.fromkeys("".join(pair) for pair in merges_of(original))
    # llama.cpp first makes the token with the highest score, where tokenizer.json has the earliest merge.
    for place, text in enumerate(merged):
        if text not in numbers:
            raise BaseUnusable(f"its tokenizer merges {text!r}, which is no token of it")
        scores[numbers[text]] = -float(place + 1)
    keys: dict[str, Value] = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.add_space_prefix": adds_space,
    }
    return keys, exact


def _leading_space(original: Json) -> tuple[bool, bool]:
    """Whether a space goes before each text, and whether llama.cpp does it in every case as this tokenizer does."""
    normalizer, before = original["normalizer"], original["pre_tokenizer"]
    # After spaces were replaced, splitting at them does nothing.
    if before is None or before.get("pattern") == {"String": " "}:
        if normalizer == _REPLACE:
            return False, True
        prepend = {"type": "Prepend", "prepend": SPACE}
        if normalizer == {"type": "Sequence", "normalizers": [prepend, _REPLACE]}:
            return True, True
    elif normalizer is None and before.get("type") == "Metaspace" and not before.get("split", True):
        scheme = before["prepend_scheme"]
        # With "first" only a text's very beginning gets a space, which is a control token in chats.
        return scheme == "always", scheme == "never"
    raise BaseUnusable(
        "its SentencePiece tokenizer treats spaces in a way that files cannot say: "
        f"{json.dumps([normalizer, before], ensure_ascii=False)[:300]}"
    )


def _special(tokenizer: PreTrainedTokenizerBase, ends: Sequence[int], *, pieces: bool) -> dict[str, Value]:
    if len(ends) > _MOST_ENDS:
        raise BaseUnusable(
            f"{len(ends)} tokens end its answers ({', '.join(map(repr, tokenizer.convert_ids_to_tokens(list(ends))))}),"
            f" and a file can name {_MOST_ENDS}"
        )
    named = {"bos": tokenizer.bos_token_id, "unknown": tokenizer.unk_token_id, "padding": tokenizer.pad_token_id}
    named |= dict(zip(("eos", "eot", "eom"), ends, strict=False))
    found = {f"tokenizer.ggml.{name}_token_id": token for name, token in named.items() if token is not None}
    # Without these keys, files of this kind have the tokens 1 and 0.
    missing = {"tokenizer.ggml.bos_token_id": _NO_TOKEN} if pieces else {}
    return missing | found


def _white_space(original: Json) -> tuple[bool, bool]:
    """`swallows` and `keeps_space` of the tokenizer."""
    added = original["added_tokens"]
    if any(token["lstrip"] or token["single_word"] for token in added):
        raise BaseUnusable("its control tokens take away white space before them, or stand alone only")
    found = {token["content"]: token["rstrip"] for token in added}
    if not any(found.values()):
        return False, False
    # By the name, llama.cpp wants all of these tokens to be there.
    as_phi_3 = {text: text not in NOT_SWALLOWING for text in found} == found
    named = as_phi_3 and vocabulary_in(original).keys() >= {*NOT_SWALLOWING, "</s>"}
    return named, not named
