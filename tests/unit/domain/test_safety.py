"""Probabilities, thresholds and assessments."""

import pytest

from tuningfork.domain.rater import CutPoints
from tuningfork.domain.safety import HARMLESS, Assessment, BlockThreshold, HarmCategory, HarmProbability

NEGLIGIBLE, LOW, MEDIUM, HIGH = HarmProbability


@pytest.mark.parametrize(
    ("threshold", "blocked"),
    [
        ("BLOCK_LOW_AND_ABOVE", [LOW, MEDIUM, HIGH]),
        ("BLOCK_MEDIUM_AND_ABOVE", [MEDIUM, HIGH]),
        ("BLOCK_ONLY_HIGH", [HIGH]),
        ("BLOCK_NONE", []),
        ("OFF", []),
    ],
)
def test_a_threshold_blocks_from_its_probability_on(threshold, blocked):
    assert [each for each in HarmProbability if BlockThreshold(threshold).blocks(each)] == blocked
    assert BlockThreshold(threshold).is_active == bool(blocked)


def test_two_texts_together_are_as_bad_as_the_worse_in_each_way():
    one = Assessment.of({HarmCategory.HARASSMENT: LOW, HarmCategory.HATE_SPEECH: HIGH})
    other = Assessment.of({HarmCategory.HARASSMENT: MEDIUM, HarmCategory.HATE_SPEECH: LOW})

    assert one.or_worse(other) == Assessment.of({HarmCategory.HARASSMENT: MEDIUM, HarmCategory.HATE_SPEECH: HIGH})
    assert HARMLESS.or_worse(HARMLESS) == HARMLESS
    assert one[HarmCategory.HATE_SPEECH] is HIGH
    assert HARMLESS[HarmCategory.DANGEROUS_CONTENT] is NEGLIGIBLE


@pytest.mark.parametrize(
    ("score", "probability"),
    [(0.0, NEGLIGIBLE), (0.24, NEGLIGIBLE), (0.25, LOW), (0.5, MEDIUM), (0.79, MEDIUM), (1.0, HIGH)],
)
def test_cut_points_belong_to_the_probability_above_them(score, probability):
    assert CutPoints(low=0.25, medium=0.5, high=0.8).probability(score) is probability
