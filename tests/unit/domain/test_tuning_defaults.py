"""The table of defaults is one that every dataset finds its row in."""

import pytest

from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.hyperparameters import RequestedHyperparameters, resolve
from tuningfork.domain.tuning_defaults import ALPHA, DATASETS, LEARNING_RATE, RANK, defaults_for


def test_rows_are_ordered_by_size_and_only_the_last_takes_any():
    sizes = [row.most_examples for row in DATASETS]

    assert sizes[-1] is None
    assert sizes[:-1] == sorted(set(sizes[:-1]))


@pytest.mark.parametrize(("count", "row"), [(1, 0), (1_000, 0), (1_001, 1), (10_000_000, 1)])
def test_a_dataset_has_the_first_row_that_takes_its_size(count, row):
    assert defaults_for(count) is DATASETS[row]


@pytest.mark.parametrize(("count", "epochs", "batch", "rate"), [(15, 5, 4, 0.001), (1_001, 5, 16, 0.0002)])
def test_a_request_that_gives_nothing_gets_the_rows_values(count, epochs, batch, rate):
    used = resolve(RequestedHyperparameters(), count, LEARNING_RATE)

    assert (used.epoch_count, used.batch_size, used.learning_rate) == (epochs, batch, rate)


def test_adapters_have_the_usual_shape():
    assert AdapterShape() == AdapterShape(rank=RANK, alpha=ALPHA)
