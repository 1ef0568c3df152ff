"""What callers do with tuned models."""

from workshop import ADA, ask, number_request

from tuningfork.domain.tuned_model import ModelState
from tuningfork.domain.tuning_job import JobState


def test_a_created_model_is_tuned_and_becomes_active(workshop):
    tuned = workshop.tuning.create(ADA, number_request())
    workshop.advance()

    done = workshop.tuning.get(ADA, tuned.model.id)
    assert done.model.state is ModelState.ACTIVE
    assert done.job.state is JobState.SUCCEEDED
    assert [snapshot.step for snapshot in done.job.snapshots] == list(range(1, 20))
    assert done.model.update_time == done.job.complete_time
