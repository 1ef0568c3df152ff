"""When validation losses are reason to stop, which evaluation is best, and how often there is one."""

from datetime import UTC, datetime

import pytest

from tuningfork.domain.early_stopping import EarlyStopping, best_of, improvements, usual_evaluate_every
from tuningfork.domain.evaluation import Evaluation


def evaluations(*losses, every=5):
    return [
        Evaluation(
            step=every * number,
            epoch=number,
            mean_loss=loss,
            targets=10,
            right_targets=3,
            compute_time=datetime(2024, 3, 14, tzinfo=UTC),
        )
        for number, loss in enumerate(losses, 1)
    ]


@pytest.mark.parametrize(
    ("losses", "in_vain"),
    [
        ((), 0),
        ((3.0,), 0),
        ((3.0, 2.0, 1.0), 0),
        ((3.0, 2.0, 2.0), 1),
        ((3.0, 2.0, 2.5, 2.1), 2),
        ((3.0, 2.0, 2.5, 1.9), 0),
        ((1.0, 3.0, 2.0, 1.5), 3),
    ],
)
def test_evaluations_in_vain_are_those_since_the_lowest_loss(losses, in_vain):
    assert EarlyStopping().in_vain(evaluations(*losses)) == in_vain


def test_a_job_is_over_after_as_many_in_a_row_as_its_patience_and_not_before():
    stopping = EarlyStopping(patience=2)
    assert [stopping.is_over(evaluations(*(3.0, 2.0, 2.5, 2.4)[:count])) for count in range(5)] == [
        False,
        False,
        False,
        False,
        True,
    ]


def test_a_loss_that_falls_by_no_more_than_the_least_improvement_is_in_vain():
    stopping = EarlyStopping(patience=2, least_improvement=0.5)
    # Each fall is small. What counts is the distance to the last loss that was an improvement.
    assert stopping.in_vain(evaluations(3.0, 2.75, 2.5)) == 2
    assert stopping.in_vain(evaluations(3.0, 2.75, 2.25)) == 0


def test_of_equal_losses_the_earliest_is_best():
    given = evaluations(3.0, 2.0, 2.0, 2.5)
    assert best_of(given) is given[1]
    assert best_of([]) is None


def test_improvements_are_those_that_were_the_best_when_they_came():
    given = evaluations(3.0, 3.0, 2.0, 2.5, 1.0, 1.0)
    assert improvements(given) == [given[0], given[2], given[4]]
    assert improvements(given)[-1] == best_of(given)
    assert improvements([]) == []


def test_words_say_after_which_step_and_why():
    given = evaluations(3.0, 2.0, 2.5, 2.25)
    assert EarlyStopping(patience=2).in_words(given, 1_000) == (
        "It stopped early, after step 20 of 1,000: the validation loss after step 10, 2, has not been improved in 2 "
        "evaluations."
    )
    assert "has not been improved by more than 0.1 in 1 evaluation." in EarlyStopping(
        patience=1, least_improvement=0.1
    ).in_words(given[:3], 1_000)


@pytest.mark.parametrize(
    ("total_steps", "trained", "validation", "every"),
    [
        (188, 750, 15, 10),
        (19, 75, 15, 4),
        (1, 4, 1, 1),
        # A large validation set is evaluated less often, and four times at least.
        (188, 750, 75, 19),
        (188, 750, 10_000, 47),
    ],
)
def test_a_run_has_some_twenty_evaluations_which_cost_no_more_than_its_training(
    total_steps, trained, validation, every
):
    assert usual_evaluate_every(total_steps, trained, validation) == every
