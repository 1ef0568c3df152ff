"""Makes ids from random bits that the caller passes in, and numbers from ids."""

import hashlib

ID_BITS = 62
"""The number of random bits in an id."""

ID_CHARACTERS = 12
_DIGITS = "abcdefghijklmnopqrstuvwxyz0123456789"


def random_id(entropy: int) -> str:
    """Twelve characters of [a-z0-9] from 62 random bits: the id of a job, a permission, a key or a server."""
    characters = []
    for _ in range(ID_CHARACTERS):
        entropy, digit = divmod(entropy, len(_DIGITS))
        characters.append(_DIGITS[digit])
    return "".join(characters)


def number_of(*texts: str) -> int:
    """A number from 1 to 2^62 - 1 that depends on these texts alone, for dialects whose ids are decimal numbers.

    Made of a random id, it is as random: two ids have the same number with a probability of 2^-62.
    """
    digest = hashlib.sha256("\0".join(texts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - ID_BITS) or 1
