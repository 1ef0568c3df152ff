"""How long something takes is told in a unit in which it has a few digits."""

import pytest

from tuningfork.client.durations import duration


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.1 s"),
        (0.04, "0.1 s"),
        (3.14, "3.1 s"),
        (10, "10 s"),
        (89, "89 s"),
        (90, "1.5 min"),
        (599, "10.0 min"),
        (601, "10 min"),
        (5_000, "83 min"),
        (5_400, "1.5 h"),
        (360_000, "100.0 h"),
    ],
)
def test_a_duration_is_told_with_its_unit(seconds, said):
    assert duration(seconds) == said
