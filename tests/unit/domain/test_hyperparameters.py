"""The arithmetic of steps and epochs, defaults, and bounds."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.domain.hyperparameters import Hyperparameters, RequestedHyperparameters, resolve, violations_of


def used(epoch_count, batch_size):
    return Hyperparameters(epoch_count=epoch_count, batch_size=batch_size, learning_rate=0.001)


@pytest.mark.parametrize(
    ("examples", "epochs", "batch", "steps"),
    [(15, 5, 2, 38), (15, 5, 4, 19), (15, 100, 4, 375), (15, 3, 2, 23), (15, 3, 4, 12), (15, 50, 4, 188)],
)
def test_total_steps_are_those_that_the_service_was_seen_to_take(examples, epochs, batch, steps):
    assert used(epochs, batch).total_steps(examples) == steps


def test_the_last_of_the_tutorials_nineteen_steps_completes_epoch_five():
    assert [used(5, 4).completed_epochs(step, 15) for step in (1, 3, 4, 7, 8, 18, 19)] == [0, 0, 1, 1, 2, 4, 5]


def test_a_batch_larger_than_the_dataset_never_completes_more_epochs_than_asked_for():
    hyperparameters = used(3, 64)
    assert hyperparameters.total_steps(2) == 1
    assert hyperparameters.completed_epochs(1, 2) == 3


@given(examples=st.integers(1, 500), epochs=st.integers(1, 50), batch=st.integers(1, 200))
def test_the_last_step_always_completes_the_last_epoch_and_none_before_does_not_grow(examples, epochs, batch):
    hyperparameters = used(epochs, batch)
    total = hyperparameters.total_steps(examples)
    completed = [hyperparameters.completed_epochs(step, examples) for step in range(1, total + 1)]
    assert completed == sorted(completed)
    assert completed[-1] == epochs


def test_what_is_left_out_of_a_small_set_is_five_epochs_batches_of_four_and_the_bases_rate():
    assert resolve(RequestedHyperparameters(), 1_000, 0.001) == Hyperparameters(
        epoch_count=5, batch_size=4, learning_rate=0.001
    )


def test_what_is_left_out_of_a_large_set_is_larger_batches_and_a_fifth_of_the_rate():
    resolved = resolve(RequestedHyperparameters(), 1_001, 0.001)
    assert (resolved.batch_size, resolved.learning_rate) == (16, pytest.approx(0.0002))


def test_a_multiplier_multiplies_the_default_rate_and_is_kept_to_be_shown():
    resolved = resolve(RequestedHyperparameters(learning_rate_multiplier=2.0), 15, 0.001)
    assert (resolved.learning_rate, resolved.learning_rate_multiplier) == (0.002, 2.0)


def test_what_was_asked_for_is_used_as_it_is():
    requested = RequestedHyperparameters(epoch_count=1, batch_size=1_000, learning_rate=0.5)
    assert resolve(requested, 3, 0.001) == Hyperparameters(epoch_count=1, batch_size=1_000, learning_rate=0.5)


@pytest.mark.parametrize(
    ("requested", "field", "bound"),
    [
        ({"epoch_count": 0}, "epoch_count", "from 1 to 1000"),
        ({"epoch_count": 1_001}, "epoch_count", "from 1 to 1000"),
        ({"batch_size": -4}, "batch_size", "from 1 to 1024"),
        ({"batch_size": 1_025}, "batch_size", "from 1 to 1024"),
        ({"learning_rate": 0.0}, "learning_rate", "at most 1"),
        ({"learning_rate": math.nan}, "learning_rate", "at most 1"),
        ({"learning_rate": math.inf}, "learning_rate", "at most 1"),
        ({"learning_rate": 1.5}, "learning_rate", "at most 1"),
        ({"learning_rate_multiplier": -1.0}, "learning_rate_multiplier", "at most 1000"),
    ],
)
def test_a_value_out_of_bounds_is_refused_with_the_bounds_and_the_value(requested, field, bound):
    (violation,) = violations_of(RequestedHyperparameters(**requested), "hyperparameters")
    assert violation.field == f"hyperparameters.{field}"
    assert bound in violation.description
    assert f"{requested[field]} was given" in violation.description


def test_every_wrong_value_is_reported_at_once():
    requested = RequestedHyperparameters(epoch_count=0, batch_size=0, learning_rate=-1.0)
    assert len(violations_of(requested, "hyperparameters")) == 3
