"""Sets a share of a dataset aside as the validation set. The same examples give the same split."""

import hashlib
from dataclasses import dataclass

from tuningfork.domain.dataset import Examples

LEAST_PERCENT, MOST_PERCENT = 0.1, 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A dataset in two parts, each in the order of the dataset. No example is in both parts, nor an equal one.

    `training_indices` are the places in the dataset of the examples to learn from.
    """

    training: Examples
    validation: Examples
    training_indices: tuple[int, ...]


def split(examples: Examples, percent: float) -> Split | None:
    """Set about `percent` per cent of the examples aside, at least one.

    None if no two of them differ, or `percent` is not from `LEAST_PERCENT` to `MOST_PERCENT`.

    Which ones are set aside depends on the examples alone, not on hyperparameters, so that runs with several settings
    are compared on the same examples. Examples that are equal stay together.
    """
    texts = [repr(example).encode("utf-8", "surrogatepass") for example in examples]
    copies: dict[bytes, int] = {}
    for text in texts:
        copies[text] = copies.get(text, 0) + 1
    if len(copies) < 2 or not LEAST_PERCENT <= percent <= MOST_PERCENT:
        return None
    seed = hashlib.sha256(b"\n".join(texts)).digest()
    drawn = sorted(copies, key=lambda text: hashlib.sha256(seed + text).digest())
    aside = _drawn_aside(drawn, copies, max(1, round(len(examples) * percent / 100)))
    parts = [(example, text in aside) for example, text in zip(examples, texts, strict=True)]
    return Split(
        training=tuple(example for example, is_aside in parts if not is_aside),
        validation=tuple(example for example, is_aside in parts if is_aside),
        training_indices=tuple(index for index, (_, is_aside) in enumerate(parts) if not is_aside),
    )


def _drawn_aside(drawn: list[bytes], copies: dict[bytes, int], wanted: int) -> set[bytes]:
    """The first of these texts that fit into `wanted` examples. If none fits, the one with the fewest copies."""
    aside: set[bytes] = set()
    count = 0
    # One text is never set aside: something has to be left to learn from.
    for text in drawn[1:]:
        if count + copies[text] <= wanted:
            aside.add(text)
            count += copies[text]
    return aside or {min(drawn, key=copies.__getitem__)}
