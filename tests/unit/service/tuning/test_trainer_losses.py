"""How long no job is taken up after trainers were lost in a row."""

from tuningfork.service.tuning.trainer_losses import MAX_PAUSE_SECONDS, TrainerLosses


class Seconds:
    now = 100.0

    def __call__(self):
        return self.now


def test_each_loss_in_a_row_after_the_first_doubles_the_pause_up_to_a_bound():
    seconds = Seconds()
    losses = TrainerLosses(1.0, seconds)
    pauses = []
    for _ in range(8):
        seconds.now += 100
        losses.lost(since=seconds.now - 1)
        pauses.append(losses.seconds_to_wait)

    assert pauses == [0, 1, 2, 4, 8, 16, MAX_PAUSE_SECONDS, MAX_PAUSE_SECONDS]
    assert losses.is_unhealthy
    losses.ended()
    assert not losses.is_unhealthy


def test_jobs_that_were_taken_up_before_the_last_loss_lose_the_same_trainer():
    seconds = Seconds()
    losses = TrainerLosses(1.0, seconds)

    for _ in range(4):
        losses.lost(since=90)

    assert (losses.in_a_row, losses.seconds_to_wait) == (1, 0)
