"""The tokens: 256 bytes, then the markers of a conversation."""

from enum import StrEnum


class Role(StrEnum):
    """The role that a message is written in."""

    SYSTEM = "system"
    USER = "user"
    MODEL = "model"


MARKERS = ("<|pad|>", "<|bos|>", "<|end|>", "<|system|>", "<|user|>", "<|model|>")
PAD, BEGIN, END = 256, 257, 258
ROLE_TOKENS = {Role.SYSTEM: 259, Role.USER: 260, Role.MODEL: 261}
VOCABULARY_SIZE = 264  # Rounded up to a multiple of eight.
