import pytest

from tuningfork.domain.checkpoint_schedule import CheckpointSchedule
from tuningfork.domain.hyperparameters import Hyperparameters

EXAMPLES = 10


def kept(schedule, batch_size=4, epoch_count=3):
    given = Hyperparameters(epoch_count=epoch_count, batch_size=batch_size, learning_rate=0.1)
    return [step for step in range(1, given.total_steps(EXAMPLES) + 1) if schedule.is_due(step, given, EXAMPLES)]


def test_by_default_only_the_last_steps_weights_are_kept_which_is_no_affair_of_the_schedule():
    assert kept(CheckpointSchedule()) == []


def test_every_so_many_steps_but_for_the_last_one():
    # Thirty examples in batches of four are eight steps.
    assert kept(CheckpointSchedule(steps_every=2)) == [2, 4, 6]


def test_at_the_first_step_that_completes_an_epoch():
    assert kept(CheckpointSchedule(epochs_every=1)) == [3, 5]
    assert kept(CheckpointSchedule(epochs_every=2)) == [5]


def test_a_batch_of_several_epochs_counts_once():
    assert kept(CheckpointSchedule(epochs_every=2), batch_size=20, epoch_count=10) == [1, 2, 3, 4]
    assert kept(CheckpointSchedule(epochs_every=3), batch_size=20, epoch_count=10) == [2, 3]


@pytest.mark.parametrize("steps_every", [1, 3])
def test_both_cadences_hold_at_once(steps_every):
    by_steps, by_epochs = CheckpointSchedule(steps_every=steps_every), CheckpointSchedule(epochs_every=1)
    both = CheckpointSchedule(steps_every=steps_every, epochs_every=1)
    assert kept(both) == sorted({*kept(by_steps), *kept(by_epochs)})
