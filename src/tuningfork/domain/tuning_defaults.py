"""The settings of tunings whose requests give none: the adapter's of every base, and a row for each size of dataset.

An entry of the catalog may have a rank, an alpha and a learning rate of its own. Another row or value needs a sweep
that shows it: one on SmolLM2-135M-Instruct found nothing better so far. At alpha 16 the tutorial's model has 5 of 15
answers right, at alpha 64 it has 2 (rate 0.001, 5 epochs, batches of 4, rank 8, one seed).
"""

from dataclasses import dataclass

RANK = 8
ALPHA = 16.0
LEARNING_RATE = 0.001
"""The tuning API's own, with which programs written for it tune. What suits the weights of a base is its alpha."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetDefaults:
    """The settings for datasets of at most `most_examples`; None: of any size.

    The learning rate is the base's, divided by `rate_divisor`.
    """

    most_examples: int | None
    epoch_count: int
    batch_size: int
    rate_divisor: float


DATASETS = (
    DatasetDefaults(most_examples=1_000, epoch_count=5, batch_size=4, rate_divisor=1.0),
    # The reference of the tuning API names both pairs of batch and rate, but not the number of examples between them.
    DatasetDefaults(most_examples=None, epoch_count=5, batch_size=16, rate_divisor=5.0),
)
"""The smallest datasets first; the last row is for all larger ones."""


def defaults_for(example_count: int) -> DatasetDefaults:
    """The row for a dataset of this size."""
    return next(row for row in DATASETS if row.most_examples is None or example_count <= row.most_examples)
