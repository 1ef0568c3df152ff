import pytest

from tuningfork.domain.verdicts import Verdict, in_order, verdict_of


@pytest.mark.parametrize(
    ("own", "others", "verdict"),
    [
        (1, [0], Verdict.WON),
        (1, [1], Verdict.TIED),
        (0, [1], Verdict.LOST),
        (0, [0], Verdict.LOST),
        (0.8, [0.9], Verdict.LOST),
        (0.8, [0.7, 0.8], Verdict.TIED),
        (0.4, [0.1], Verdict.LOST),
        (1, [], Verdict.WON),
        (0, [], Verdict.LOST),
    ],
)
def test_who_fails_or_is_beaten_has_lost(own, others, verdict):
    assert verdict_of(own, others) is verdict


def test_losses_come_first_the_worst_of_them_at_the_top():
    verdicts = {1: Verdict.WON, 2: Verdict.LOST, 3: Verdict.TIED, 4: Verdict.LOST, 5: Verdict.LOST}
    scores = {1: 1.0, 2: 0.3, 3: 1.0, 4: 0.0, 5: 0.3}
    assert in_order(verdicts, scores) == [4, 2, 5, 3, 1]
