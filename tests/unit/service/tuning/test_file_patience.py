"""Jobs wait for their files by time, with pauses that grow."""

from datetime import UTC, datetime, timedelta

from tuningfork.domain.preparation import UnreadFiles
from tuningfork.service.tuning.file_patience import FilePatience

BEGIN = datetime(2026, 12, 1, tzinfo=UTC)


class Tries:
    """Tries that fail, each some seconds after the one before."""

    def __init__(self, patience):
        self._patience = patience
        self.unread = None
        self.now = BEGIN

    def after(self, seconds):
        """The pause that a try is followed by which fails so many seconds later."""
        self.now += timedelta(seconds=seconds)
        self.unread = self._patience.failed(self.unread, self.now)
        return self._patience.pause_after(self.unread)


def test_pauses_double_up_to_the_longest():
    tries = Tries(FilePatience())

    assert tries.after(0) == 5
    assert [tries.after(pause) for pause in (5, 5, 10, 20, 40, 60)] == [5, 10, 20, 40, 60, 60]


def test_patience_ends_by_time_however_often_it_was_tried():
    tries = Tries(FilePatience(patience_seconds=900))
    tries.after(0)
    assert all(tries.after(1.75) is not None for _ in range(500))

    assert tries.after(24) == 60
    assert tries.after(1) is None


def test_time_in_which_no_server_tried_does_not_count():
    tries = Tries(FilePatience(patience_seconds=900, most_gap_seconds=180))
    tries.after(0)

    assert tries.after(24 * 3600) == 60
    assert tries.unread == UnreadFiles(seconds=180, last_try=tries.now)


def test_a_clock_that_is_set_back_takes_no_patience_back():
    tries = Tries(FilePatience())
    tries.after(0)
    tries.after(100)
    tries.after(-3600)

    assert tries.unread == UnreadFiles(seconds=100, last_try=tries.now)
