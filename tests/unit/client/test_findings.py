"""What the client finds in the steps that it has seen."""

from datetime import UTC, datetime

from tuningfork.client import findings
from tuningfork.domain.tuning_job import Snapshot

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)


def steps(losses):
    return [
        Snapshot(step=step, epoch=0, mean_loss=loss, compute_time=NOON) for step, loss in enumerate(losses, start=1)
    ]


def test_losses_that_do_not_fall_are_told():
    (found,) = findings.of_steps(steps([2.0, 2.1, 1.9] * 6))

    assert (found.kind, found.in_short) == ("loss_level", "loss level")


def test_losses_whose_sum_no_float_can_hold_are_no_reason_to_end():
    assert findings.of_steps(steps([1e308] * 18)) == ()
