"""What the losses of runs give reason to warn of.

`tests/data/training_curves.json` has the losses of real runs over the embedded model: of the tutorial's pairs, of words
and their capitals, of texts that have nothing to do with each other, and so on, at the rate of the tutorial (0.001)
unless the name says another.
"""

import json
import math
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tuningfork.domain.diagnosis import diagnose
from tuningfork.domain.evaluation import Evaluation
from tuningfork.domain.findings import FindingKind
from tuningfork.domain.tuning_job import Snapshot

CURVES = json.loads((Path(__file__).parents[2] / "data" / "training_curves.json").read_text(encoding="utf-8"))
NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)
ROSE, LEVEL, ZERO, OVERFITTING = FindingKind


def steps(losses, steps_per_epoch=math.inf):
    return [
        Snapshot(step=step, epoch=int(step // steps_per_epoch), mean_loss=loss, compute_time=NOON)
        for step, loss in enumerate(losses, start=1)
    ]


def evaluated(*losses, every=5):
    return [
        Evaluation(step=every * index, epoch=0, mean_loss=loss, targets=9, right_targets=0, compute_time=NOON)
        for index, loss in enumerate(losses, start=1)
    ]


def kinds(snapshots, evaluations=(), **options):
    return [finding.kind for finding in diagnose(snapshots, evaluations, **options)]


def falling(count, first, last):
    """Most of a fall within the first third."""
    return [last + (first - last) * math.exp(-6 * step / count) for step in range(count)]


def simulated(seed, *, examples, epochs, batch, fall):
    """A run over examples of different difficulty and length, shuffled in each epoch; `fall` is what is left of it.

    Without noise of its own: what differs is what is in the batches.
    """
    chance = random.Random(seed)
    spread = chance.uniform(0.2, 0.8)
    difficulty = [chance.uniform(0.5, 4) * math.exp(chance.gauss(0, spread)) for _ in range(examples)]
    tokens = [chance.randint(2, 20) for _ in range(examples)]
    order = [index for _ in range(epochs) for index in chance.sample(range(examples), examples)]
    batches = [order[begin : begin + batch] for begin in range(0, len(order), batch)]
    course = falling(len(batches), 1.0, fall)
    losses = [
        height * sum(difficulty[i] * tokens[i] for i in taken) / sum(tokens[i] for i in taken)
        for height, taken in zip(course, batches, strict=True)
    ]
    return steps(losses, examples / batch)


REAL = {
    "the tutorial, rate 0.02": [ROSE],
    "the tutorial, rate 1": [ROSE],
    "the tutorial, 8 epochs, rate 0.005": [ROSE],
    "capitals, rate 0.02": [ROSE],
    "capitals, rate 1": [ROSE],
    "capitals, batches of 1, rate 0.1": [ROSE],
    "capitals, batches of 16, rate 0.1": [ROSE],
    "the tutorial, rate 1e-9": [LEVEL],
    "capitals, rate 1e-6": [LEVEL],
    "capitals, batches of 1, rate 1e-6": [LEVEL],
    "capitals, batches of 16, rate 1e-6": [LEVEL],
    "unrelated texts, rate 1e-6": [LEVEL],
    "preferences, rate 1e-9": [LEVEL],
    "the tutorial, 60 epochs": [ZERO],
    "one output everywhere": [ZERO],
    "known outputs": [ZERO],
    "12 capitals by heart": [OVERFITTING],
    "20 unrelated texts by heart": [OVERFITTING],
}
"""The runs that deserve a warning; all others in the file went well."""


@pytest.mark.parametrize("name", CURVES)
def test_real_runs_are_warned_of_if_they_deserve_it(name):
    run = CURVES[name]
    taken = steps(run["losses"], run["examples"] / run["batch_size"])
    held_out = [
        Evaluation(step=step, epoch=0, mean_loss=loss, targets=9, right_targets=0, compute_time=NOON)
        for step, loss in run["evaluations"]
    ]

    assert kinds(taken, held_out, over_preferences="preferences" in name) == REAL.get(name, [])


@pytest.mark.parametrize("count", range(4, 19))
def test_the_tutorial_is_not_warned_of_at_any_of_its_steps(count):
    run = CURVES["the tutorial"]

    assert kinds(steps(run["losses"], 15 / 4)[:count]) == []


@pytest.mark.parametrize("losses", [[], [1.0], [1.0, 9.0, 9.0], [0.0, 0.0, 0.0]])
def test_a_run_of_very_few_steps_is_not_judged(losses):
    assert diagnose(steps(losses)) == ()


SIZES = [(15, 4), (40, 1), (60, 4), (200, 16)]


@pytest.mark.parametrize("fall", [0.02, 0.2, 0.5])
@pytest.mark.parametrize("epochs", [1, 2, 5])
@pytest.mark.parametrize(("examples", "batch"), SIZES)
def test_runs_that_learn_are_not_warned_of_whatever_is_in_their_batches(examples, batch, epochs, fall):
    found = [kinds(simulated(seed, examples=examples, epochs=epochs, batch=batch, fall=fall)) for seed in range(60)]

    # By chance a single epoch has easy examples first and hard ones at last, which hides half of a fall.
    assert sum(map(bool, found)) <= (4 if (epochs, fall) == (1, 0.5) else 0)


@pytest.mark.parametrize(("examples", "batch"), SIZES)
def test_most_runs_that_learn_nothing_in_five_epochs_are_level(examples, batch):
    found = [kinds(simulated(seed, examples=examples, epochs=5, batch=batch, fall=1.0)) for seed in range(60)]

    assert found.count([LEVEL]) >= 40


@pytest.mark.parametrize(("examples", "batch"), SIZES[1:])
def test_most_runs_whose_loss_triples_in_five_epochs_have_risen(examples, batch):
    found = [kinds(simulated(seed, examples=examples, epochs=5, batch=batch, fall=3.0)) for seed in range(60)]

    assert found.count([ROSE]) >= 50
    assert [LEVEL] not in found


def test_a_loss_that_jumped_and_came_down_is_above_its_beginning_until_it_is_below():
    assert kinds(steps([1.6, 5.4, 9.0, 6.0, 4.0, 3.5, 3.2, 3.0, 3.1, 2.9, 3.0, 2.9])) == [ROSE]
    assert kinds(steps([1.6, 5.4, 9.0, 6.0, 4.0, 2.5, 1.2, 1.0, 0.6, 0.5, 0.4, 0.4])) == []


def test_a_loss_that_rose_is_told_with_the_beginning_that_it_is_above():
    (at_once,) = diagnose(steps([1.0, *([5.0] * 11)]))
    (later,) = diagnose(steps([3.0, *([0.3] * 9), *([1.5] * 40)]))

    assert later.kind is at_once.kind is ROSE
    assert "began: 1.000 at first, 5.000 in the last third of the steps." in at_once.description
    assert "began: 0.840 in the first 5 steps, 1.500 in the last third of the steps." in later.description


def test_a_loss_that_fell_and_rose_far_again_is_told_with_both_numbers():
    fell = [2.0, 1.9, 1.8, 1.6, 1.5, 0.6, *([0.2] * 6)]
    (finding,) = diagnose(steps([*fell, *([1.5] * 6)]))

    assert finding.kind is ROSE
    assert finding.description == (
        "The loss fell and then rose again: 0.200 in the middle third of the steps, 1.500 in the last."
    )
    assert kinds(steps([*fell, *([0.3] * 6)])) == []
    assert kinds(steps([9.0 * loss for loss in fell[:6]] + [0.1] * 6 + [0.3] * 6)) == []


@pytest.mark.parametrize(("examples", "batch"), SIZES)
def test_no_run_is_said_to_rise_again_at_any_of_its_steps_for_what_is_in_its_batches(examples, batch):
    runs = [simulated(seed, examples=examples, epochs=2, batch=batch, fall=0.2) for seed in range(15)]

    assert not [run for run in runs for taken in range(12, len(run), 3) if ROSE in kinds(run[:taken])]


def test_a_fast_fall_at_the_very_beginning_of_a_long_run_is_learning():
    assert kinds(steps([2.0, 1.9, 1.7, *([1.3, 1.35, 1.25] * 200)], 200)) == []


def test_a_small_fall_is_learning_where_batches_are_alike_and_nothing_where_they_are_not():
    def noisy(spread, last):
        chance = random.Random(3)
        return steps([loss * math.exp(chance.gauss(0, spread)) for loss in falling(300, 1.0, last)])

    assert kinds(noisy(0.02, 0.9)) == []
    assert kinds(noisy(0.02, 1.0)) == [LEVEL]
    assert kinds(noisy(0.2, 0.99)) == [LEVEL]


def test_neither_scale_nor_what_cannot_be_shown_changes_the_findings():
    run = CURVES["capitals, rate 1"]["losses"]

    assert kinds(steps([100 * loss for loss in run])) == kinds(steps([loss / 100 for loss in run])) == [ROSE]
    assert kinds(steps([*run, math.nan, math.inf])) == [ROSE]
    assert kinds(steps([-1e-7] * 10)) == [ZERO]


def test_zero_from_the_beginning_is_another_advice_than_zero_at_last():
    (known,) = diagnose(steps([0.0] * 30))
    (learned,) = diagnose(steps([*falling(30, 2.0, 0.1), *([0.0001] * 60)]))

    assert known.description == "The loss was 0.000 for most steps, from step 1 of 30 on."
    assert "nothing to learn" in known.advice
    assert learned.description == "The loss was 0.000 for most steps, from step 31 of 90 on."
    assert "fewer epochs" in learned.advice


def test_zero_in_less_than_half_of_the_steps_is_a_good_end():
    assert kinds(steps([*falling(30, 2.0, 0.1), *([0.0001] * 20)])) == []


def test_preferences_have_their_own_advice():
    still = steps([math.log(2)] * 20)
    (finding,) = diagnose(still, over_preferences=True)

    assert finding.kind is LEVEL
    assert "chosen answer" in finding.advice
    (told_apart,) = diagnose(steps([math.log(2), 0.3, *([0.0] * 20)]), over_preferences=True)
    assert "rejected" in told_apart.advice


def test_a_validation_loss_that_rose_again_is_overfitting_and_says_from_where():
    (finding,) = diagnose(steps(falling(25, 2.0, 0.05)), evaluated(1.2, 0.9, 0.8, 1.0, 1.3))

    assert finding.kind is OVERFITTING
    assert finding.description == (
        "The validation loss was lowest after step 15, 0.800, and rose to 1.300 while the training loss fell."
    )
    assert "15 steps" in finding.advice


@pytest.mark.parametrize(
    "losses", [(), (0.9,), (1.2, 0.9, 0.8), (1.2, 0.8, 0.81), (0.010, 0.001, 0.019), (1.0, 1.0, 1.0)]
)
def test_a_validation_loss_that_falls_stays_or_is_tiny_is_no_overfitting(losses):
    assert kinds(steps(falling(25, 2.0, 0.05)), evaluated(*losses)) == []


def test_a_level_training_loss_is_none_if_the_validation_loss_falls():
    level = steps([1.0, 1.01, 0.99] * 10)

    assert kinds(level, evaluated(1.0, 1.0)) == [LEVEL]
    assert kinds(level, evaluated(1.0, 0.9)) == []


def test_where_the_training_loss_itself_rose_nothing_is_said_of_overfitting():
    assert kinds(steps(falling(25, 1.0, 6.0)), evaluated(1.0, 3.0, 5.0)) == [ROSE]


def test_each_finding_says_what_to_try():
    found = [finding for name in REAL for finding in diagnose(steps(CURVES[name]["losses"]))]

    assert all(finding.advice.endswith(".") and finding.description.endswith(".") for finding in found)
    assert all(kind.in_short for kind in FindingKind)
