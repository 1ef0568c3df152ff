"""Makes ids from random bits that the caller passes in."""

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
