"""The tokens of a GGUF file: their texts, kinds and scores, and which of them begin and end texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar, cast

from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.files.gguf.metadata import Metadata

_Item = TypeVar("_Item", str, int, float)

_MOST_TOKEN_CHARACTERS = 1_024
_USUAL = {"llama": {"bos": 1, "eos": 2, "unknown": 0}}
"""The tokens of SentencePiece vocabularies whose files name none, as older files do."""


class Kind(IntEnum):
    """What a token is (`llama_token_type`)."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The tokens of a model, by their numbers. `ends`: those that end an answer."""

    model: str
    splitting: str | None
    """How texts are split into words before they become tokens (`tokenizer.ggml.pre`)."""
    texts: Sequence[str]
    kinds: Sequence[Kind]
    scores: Sequence[float] | None
    merges: Sequence[str] | None
    begin: int | None
    end: int | None
    unknown: int | None
    padding: int | None
    ends: tuple[int, ...]
    adds_begin: bool | None
    adds_end: bool
    adds_space: bool | None
    """Whether a space goes before each text; None: the file does not say."""

    def named(self, token: int | None) -> str | None:
        """The text of a token."""
        return None if token is None else self.texts[token]


def vocabulary_of(metadata: Metadata, size: int) -> Vocabulary:
    """The file's tokens, for an embedding of `size` rows.

    Raises:
        BaseUnusable: they are missing or contradict each other.

    """
    texts = _list(metadata, "tokens", str)
    if texts is None:
        raise BaseUnusable("its metadata lacks 'tokenizer.ggml.tokens': it has no tokenizer")
    if len(texts) > size:
        raise BaseUnusable(f"it has {len(texts)} tokens, and its embedding has rows for {size}")
    longest = max(range(len(texts)), key=lambda token: len(texts[token]), default=0)
    if not texts or len(texts[longest]) > _MOST_TOKEN_CHARACTERS:
        raise BaseUnusable(f"its token {longest} has more than {_MOST_TOKEN_CHARACTERS} characters, as no token has")
    kinds = _kinds(metadata, len(texts))
    # Tokens without a text cannot be in one. Some models have such a place in their vocabulary.
    kinds = [kind if text else Kind.UNUSED for text, kind in zip(texts, kinds, strict=True)]
    used = [text for text, kind in zip(texts, kinds, strict=True) if kind is not Kind.UNUSED]
    if len(set(used)) != len(used):
        raise BaseUnusable("two of its tokens have the same text")
    scores = _list(metadata, "scores", float)
    if scores is not None and len(scores) != len(texts):
        raise BaseUnusable(f"it has {len(texts)} tokens and scores for {len(scores)}")
    token = _Tokens(metadata, len(texts))
    end = token.numbered("eos")
    ends = dict.fromkeys(each for each in (end, token.numbered("eot"), token.numbered("eom")) if each is not None)
    if metadata.flag("tokenizer.ggml.add_sep_token", usual=False):
        raise BaseUnusable("its tokenizer adds separators, as those of encoders do")
    return Vocabulary(
        model=metadata.text("tokenizer.ggml.model"),
        splitting=metadata.text("tokenizer.ggml.pre", "") or None,
        texts=texts,
        kinds=kinds,
        scores=scores,
        merges=_list(metadata, "merges", str),
        begin=token.numbered("bos"),
        end=end,
        unknown=token.numbered("unknown"),
        padding=token.numbered("padding"),
        ends=tuple(ends),
        adds_begin=_maybe(metadata, "add_bos_token"),
        adds_end=metadata.flag("tokenizer.ggml.add_eos_token", usual=False),
        adds_space=_maybe(metadata, "add_space_prefix"),
    )


class _Tokens:
    def __init__(self, metadata: Metadata, count: int) -> None:
        self._metadata, self._count = metadata, count
        self._usual = _USUAL.get(metadata.text("tokenizer.ggml.model"), {})

    def numbered(self, name: str) -> int | None:
        """The number of a token with a purpose; None: there is none.

        Raises:
            BaseUnusable: there is no token of this number.

        """
        key = f"tokenizer.ggml.{name}_token_id"
        number = self._metadata.get(key)
        # A tokenizer without such a token has -1, or its bits without a sign.
        if number is None:
            return self._usual.get(name)
        if number in (-1, 2**32 - 1):
            return None
        if type(number) is not int or not 0 <= number < self._count:
            raise BaseUnusable(f"its {key!r} is {str(number)[:40]}, and it has {self._count} tokens")
        return number


def _kinds(metadata: Metadata, count: int) -> list[Kind]:
    numbers = _list(metadata, "token_type", int)
    if numbers is None:
        raise BaseUnusable("its metadata lacks 'tokenizer.ggml.token_type': control tokens could not be told from text")
    if len(numbers) != count:
        raise BaseUnusable(f"it has {count} tokens and the types of {len(numbers)}")
    try:
        return [Kind(number) for number in numbers]
    except ValueError as error:
        raise BaseUnusable(f"the type of one of its tokens is not known: {error}") from error


def _maybe(metadata: Metadata, name: str) -> bool | None:
    key = f"tokenizer.ggml.{name}"
    return None if metadata.get(key) is None else metadata.flag(key, usual=False)


def _list(metadata: Metadata, name: str, of: type[_Item]) -> list[_Item] | None:
    key = f"tokenizer.ggml.{name}"
    value = metadata.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(type(item) is of for item in value):
        raise BaseUnusable(f"its {key!r} is no list of {of.__name__}")
    return cast("list[_Item]", value)
