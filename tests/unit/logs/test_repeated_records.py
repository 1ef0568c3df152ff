"""A fault that repeats is logged a few times, and then counted."""

import io
import logging
import threading

import pytest

from patience import PATIENCE_SECONDS
from tuningfork.logs.access import ACCESS_LOGGER
from tuningfork.logs.repeated_records import (
    PASSED_RECORDS,
    PASSED_REQUESTS,
    PASSED_TRACEBACKS,
    WINDOW_SECONDS,
    RepeatedRecords,
)


class Log:
    """A logger of its own, whose lines can be read, on a clock that is set by hand."""

    def __init__(self):
        self.now = 0.0
        self.stream = io.StringIO()
        handler = logging.StreamHandler(self.stream)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        handler.addFilter(RepeatedRecords(handler, lambda: self.now))
        # `getLogger` would give all tests the same one, which one of them renames.
        self.logger = logging.Logger("tests.repeated", logging.INFO)  # noqa: LOG001
        self.logger.addHandler(handler)

    @property
    def lines(self):
        return self.stream.getvalue().splitlines()


@pytest.fixture
def log():
    return Log()


def test_records_of_one_kind_are_left_out_after_the_first_ones(log):
    for number in range(10_000):
        log.logger.warning("job %d has trouble", number)

    assert len(log.lines) == PASSED_RECORDS
    assert log.lines[0] == "WARNING tests.repeated: job 0 has trouble"


def test_tracebacks_are_left_out_sooner(log):
    for _ in range(1_000):
        log.logger.error("cannot accept", exc_info=OSError("no descriptor"))

    assert log.stream.getvalue().count("OSError: no descriptor") == PASSED_TRACEBACKS


def test_what_was_left_out_is_counted_with_the_next_record_behind_the_window(log):
    for _ in range(PASSED_RECORDS + 7):
        log.logger.warning("again")
    log.now = WINDOW_SECONDS + 1

    log.logger.info("something else")

    assert log.lines[-2:] == [
        "WARNING tests.repeated: 7 more records like this one were left out: again",
        "INFO tests.repeated: something else",
    ]


def test_a_kind_passes_again_in_the_next_window(log):
    for _ in range(PASSED_RECORDS + 1):
        log.logger.warning("again")
    log.now = WINDOW_SECONDS + 1

    log.logger.warning("again")

    assert log.lines[-1] == "WARNING tests.repeated: again"


def test_records_of_other_kinds_pass_meanwhile(log):
    for _ in range(1_000):
        log.logger.warning("again")

    log.logger.warning("other")

    assert log.lines[-1] == "WARNING tests.repeated: other"


def test_messages_that_are_never_the_same_are_left_out_too(log):
    for number in range(100_000):
        log.logger.warning(f"made of {number}")  # noqa: G004 - what is tested

    assert len(log.lines) < 2_000


def test_requests_are_logged_more_often_before_they_are_counted(log):
    log.logger.name = ACCESS_LOGGER
    for _ in range(PASSED_REQUESTS + 3):
        log.logger.info("GET")
    log.now = WINDOW_SECONDS + 1

    log.logger.info("POST")

    assert len(log.lines) == PASSED_REQUESTS + 2
    assert "3 more records like this one were left out: GET" in log.lines[-2]


def test_a_record_may_be_logged_while_another_is_counted():
    """As when the garbage collector runs meanwhile, and the end of an object that it collects is logged."""
    within = []

    def clock():
        if within:
            logger.warning(within.pop())
        return 0.0

    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RepeatedRecords(handler, clock))
    logger = logging.Logger("tests.within", logging.INFO)  # noqa: LOG001 - as above
    logger.addHandler(handler)
    within.append("collected")
    thread = threading.Thread(target=logger.warning, args=("counted",), daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)

    assert stream.getvalue().splitlines() == ["collected", "counted"]


def test_a_record_is_counted_with_the_lock_of_the_handler_that_writes_it():
    """Else a thread that counts and one that writes could wait for each other, if a record is logged meanwhile."""
    handler = logging.StreamHandler(io.StringIO())
    begun, taken = [], []

    def take():
        taken.append(handler.lock.acquire(blocking=False))
        if taken[-1]:
            handler.lock.release()

    def clock():
        if begun:
            other = threading.Thread(target=take)
            other.start()
            other.join(PATIENCE_SECONDS)
        return 0.0

    counts = RepeatedRecords(handler, clock)
    begun.append(True)
    counts.filter(logging.LogRecord("tests", logging.INFO, "", 0, "counted", (), None))

    assert taken
    assert not any(taken)
