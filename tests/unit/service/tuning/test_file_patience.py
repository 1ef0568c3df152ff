"""Jobs wait for their files by time, with pauses that grow."""

from tuningfork.domain.tuning_job import JobId
from tuningfork.service.tuning.file_patience import FilePatience

JOB, OTHER = JobId("job"), JobId("other")


class Time:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_pauses_double_up_to_the_longest():
    patience = FilePatience(1800, first_pause_seconds=5, most_pause_seconds=60, monotonic=Time())

    assert [patience.failed(JOB) for _ in range(6)] == [5, 10, 20, 40, 60, 60]
    assert patience.failed(OTHER) == 5


def test_patience_ends_by_time_however_often_it_was_tried():
    time = Time()
    patience = FilePatience(900, monotonic=time)
    for _ in range(500):
        assert patience.failed(JOB) is not None
    time.now += 899
    assert patience.failed(JOB) == 60

    time.now += 1
    assert patience.failed(JOB) is None


def test_time_begins_anew_once_the_files_were_read():
    time = Time()
    patience = FilePatience(900, monotonic=time)
    patience.failed(JOB)
    time.now += 1000
    patience.forget(JOB)

    assert patience.failed(JOB) == 5
