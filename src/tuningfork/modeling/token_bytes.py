"""The bytes that each token stands for.

Tokenizers write tokens as texts in two ways. Byte-level ones have a printable character for each byte (GPT-2,
`bytes_to_unicode`). The others write a space as U+2581, and a byte that is part of no token as `<0xE2>`.
"""

import json
import re
from collections.abc import Sequence
from functools import cache

from transformers import PreTrainedTokenizerBase

_SPACE = "\u2581"
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def token_bytes(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> tuple[bytes, ...]:
    """The bytes of each of these tokens; control tokens are spelled by their names."""
    written = tokenizer.convert_ids_to_tokens(list(ids))
    added = tokenizer.added_tokens_decoder
    by_level = _is_byte_level(tokenizer)
    return tuple(
        text.encode() if token in added else _of_byte_level(text) if by_level else _of_pieces(text)
        for token, text in zip(ids, written, strict=True)
    )


def _is_byte_level(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer joins its tokens' characters as bytes."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or backend.decoder is None:
        return False
    # A sequence of decoders says its members only in its own words.
    decoder = json.loads(backend.decoder.__getstate__())
    return any(each.get("type") == "ByteLevel" for each in (decoder, *decoder.get("decoders", ())))


def _of_byte_level(text: str) -> bytes:
    known = _byte_of_character()
    return b"".join(bytes([known[each]]) if each in known else each.encode() for each in text)


def _of_pieces(text: str) -> bytes:
    if found := _BYTE.fullmatch(text):
        return bytes.fromhex(found[1])
    return text.replace(_SPACE, " ").encode()


@cache
def _byte_of_character() -> dict[str, int]:
    """GPT-2's table: bytes that are printable in Latin-1 stand for themselves, the others for U+0100 and following."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + place): byte for place, byte in enumerate(others)}
