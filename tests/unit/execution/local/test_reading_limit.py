"""Files that keep a process waiting for too long end it."""

import pytest

from tuningfork.execution.local.reading_limit import BYTES_PER_SECOND, ReadingLimit


class Slow:
    """A file each of whose lines takes so many seconds of a clock to come."""

    def __init__(self, *, seconds, line=b"{}"):
        self.now = 0.0
        self._seconds = seconds
        self._line = line

    def lines(self):
        while True:
            self.now += self._seconds
            yield self._line


def limited(file, **options):
    return ReadingLimit(10, clock=lambda: file.now, **options)


def test_waits_for_several_lines_are_added_up():
    file = Slow(seconds=3)
    limit = limited(file)
    lines = limit.lines(file)
    for _ in range(3):
        next(lines)
    assert not limit.is_over(), "nothing is waited for"

    class Hanging:
        def lines(self):
            assert not limit.is_over()
            file.now += 2
            assert limit.is_over()
            yield b""

    next(limit.lines(Hanging()))


def test_a_file_that_is_read_quickly_enough_may_take_as_long_as_it_has_bytes():
    file = Slow(seconds=5, line=bytes(5 * BYTES_PER_SECOND))
    limit = limited(file)
    lines = limit.lines(file)
    for _ in range(100):
        next(lines)

    class Hanging:
        def lines(self):
            file.now += 9
            assert not limit.is_over()
            file.now += 2
            assert limit.is_over()
            yield b""

    next(limit.lines(Hanging()))


def test_what_is_done_between_two_lines_takes_as_long_as_it_likes():
    file = Slow(seconds=1)
    limit = limited(file)
    lines = limit.lines(file)
    next(lines)
    file.now += 1_000
    assert not limit.is_over()
    next(lines)
    assert not limit.is_over()


def test_opening_a_base_takes_longer_than_a_line():
    file = Slow(seconds=1)
    limit = limited(file)
    with limit.opening(100):
        file.now += 110
        assert not limit.is_over()
        file.now += 1
        assert limit.is_over()
    assert not limit.is_over()


def test_errors_of_a_file_are_its_readers():
    class Gone:
        def lines(self):
            raise LookupError("gone")
            yield b""

    limit = ReadingLimit(10)
    with pytest.raises(LookupError, match="gone"):
        next(limit.lines(Gone()))
    assert not limit.is_over()
