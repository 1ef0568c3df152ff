import random
import statistics

import pytest

from tuningfork.domain.answer_scores import Measure
from tuningfork.domain.score_intervals import summary_of

EXACT = Measure.EXACT_MATCH


def of(*models, draws=1_000):
    """The summary of models with these scores by one measure."""
    return summary_of([[{EXACT: value} for value in values] for values in models], [EXACT], draws=draws)


def test_means_are_those_of_the_examples():
    summary = of([1, 0, 1, 1], [0, 0, 1, 0])
    assert [means[EXACT].mean for means in summary.means] == [0.75, 0.25]
    assert summary.example_count == 4
    assert summary.differences[0].interval.mean == 0.5


def test_an_interval_of_yes_and_no_is_close_to_the_normal_approximation():
    chance = random.Random(3)
    values = [float(chance.random() < 0.7) for _ in range(400)]
    interval = of(values).means[0][EXACT]
    half = 1.96 * statistics.pstdev(values) / 20
    assert interval.low == pytest.approx(interval.mean - half, abs=0.006)
    assert interval.high == pytest.approx(interval.mean + half, abs=0.006)


def test_the_same_examples_have_the_same_intervals():
    assert of([1, 0, 1], [0, 1, 1]) == of([1, 0, 1], [0, 1, 1])


def test_where_all_are_right_the_interval_is_not_a_point():
    # Clopper and Pearson for 3 of 3: the cube root of 0.025.
    assert of([1, 1, 1]).means[0][EXACT].low == pytest.approx(0.2924, abs=1e-4)
    assert of([0, 0, 0]).means[0][EXACT].high == pytest.approx(0.7076, abs=1e-4)
    assert of([1] * 100).means[0][EXACT].low == pytest.approx(0.9638, abs=1e-4)


def test_two_models_that_differ_now_and_then_are_not_told_apart():
    [difference] = of([1, 0] * 20 + [1] * 6, [0, 1] * 20 + [1] * 6).differences
    assert difference.interval.has_zero
    assert not difference.is_clear


def test_two_models_with_many_differences_are_told_apart():
    [difference] = of([1] * 30 + [0] * 10, [0] * 30 + [0] * 10).differences
    assert difference.is_clear
    assert difference.interval.low > 0
    assert difference.differing == 30


def test_five_examples_cannot_tell_two_models_apart_even_if_all_favour_one():
    assert not of([1] * 5, [0] * 5).differences[0].is_clear
    assert of([1] * 6, [0] * 6).differences[0].is_clear


def test_a_difference_is_paired():
    """Both models are right on the same examples but for a few: the difference is known better than the scores."""
    first = [1.0] * 50 + [0.0] * 50
    second = [1.0] * 42 + [0.0] * 58
    summary = of(first, second)
    assert summary.means[0][EXACT].low < summary.means[1][EXACT].high
    assert summary.differences[0].is_clear


def test_every_two_models_are_compared():
    summary = of([1, 0], [0, 0], [1, 1], [0, 1])
    assert [(each.first, each.second) for each in summary.differences] == [
        (0, 1),
        (0, 2),
        (0, 3),
        (1, 2),
        (1, 3),
        (2, 3),
    ]


def test_without_examples_there_are_no_scores():
    summary = of([], [])
    assert summary.example_count == 0
    assert summary.means == ({}, {})
    assert summary.differences == ()
