"""What was done in each minute of the last hour."""

from fakes import Clock
from tuningfork.domain.operations import Work
from tuningfork.service.operating.throughput import Throughput


class Counting:
    """The counters of a server, which a test moves."""

    def __init__(self):
        self.work = Work()

    def answer(self, count=1):
        self.work = Work(answers=self.work.answers + count, output_tokens=self.work.output_tokens + 1_000)

    def __call__(self):
        return self.work


def test_each_minute_has_what_was_done_in_it():
    clock, counting = Clock(), Counting()
    throughput = Throughput(clock, counting)
    counting.answer()
    clock.advance(minutes=1)
    throughput.sample()
    counting.answer(3)

    first, current = throughput.of_last_hour()

    assert (first.work.answers, current.work.answers) == (1, 3)
    assert first.work.output_tokens == 1_000
    assert (current.time - first.time).total_seconds() == 60


def test_minutes_without_work_are_left_out():
    clock, counting = Clock(), Counting()
    throughput = Throughput(clock, counting)
    clock.advance(minutes=1)
    throughput.sample()
    counting.answer()
    clock.advance(minutes=1)

    [only] = throughput.of_last_hour()

    assert only.work.answers == 1


def test_what_was_counted_before_the_start_is_no_work_of_a_minute():
    clock, counting = Clock(), Counting()
    counting.answer(100)
    assert Throughput(clock, counting).of_last_hour() == ()


def test_an_hour_is_remembered_and_no_more():
    clock, counting = Clock(), Counting()
    throughput = Throughput(clock, counting)
    for _ in range(200):
        counting.answer()
        clock.advance(minutes=1)
        throughput.sample()

    minutes = throughput.of_last_hour()

    assert len(minutes) <= 60
    assert sum(each.work.answers for each in minutes) == len(minutes)
