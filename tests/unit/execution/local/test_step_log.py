"""The step log gives back what was appended, whatever a crash left at its end."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tuningfork.domain.evaluation import Evaluation
from tuningfork.domain.tuning_job import Snapshot
from tuningfork.execution.local.step_log import EvaluationLog, StepLog

STEPS = tuple(
    Snapshot(step=step, epoch=step // 2, mean_loss=1 / step, compute_time=datetime(2024, 1, 1, 0, 0, step, tzinfo=UTC))
    for step in range(1, 6)
)


@pytest.fixture
def log(tmp_path):
    return StepLog(tmp_path / "steps.jsonl")


def test_nothing_is_read_before_anything_was_appended(log):
    assert log.read(10) == ()


def test_what_was_appended_is_read_up_to_a_step(log):
    log.append(STEPS[:2])
    log.append(STEPS[2:])

    assert log.read(10) == STEPS
    assert log.read(3) == STEPS[:3]


def test_the_predictions_of_a_step_are_kept_and_lines_of_earlier_versions_have_none(log):
    known = replace(STEPS[1], targets=12, right_targets=7)
    log.path.write_text('[1, 0, 1.0, "2024-01-01T00:00:01+00:00"]\n')
    log.append([known])

    assert log.read(10) == (STEPS[0], known)


def test_a_step_that_was_done_again_replaces_the_old_one(log):
    again = replace(STEPS[1], compute_time=datetime(2025, 1, 1, tzinfo=UTC))
    log.append(STEPS)
    log.append([again])

    assert log.read(2) == (STEPS[0], again)


@pytest.mark.parametrize("torn", ["[6, 3, 0.1", "[6, 3", '"', "\x00\x00"])
def test_a_torn_line_is_passed_over_and_harms_no_later_one(log, torn):
    log.append(STEPS[:3])
    with log.path.open("a") as file:
        file.write(torn)
    log.append(STEPS[3:])

    assert log.read(10) == STEPS


class TestEvaluations:
    def evaluation(self, step, loss=1.5):
        time = datetime(2024, 3, 14, 15, 9, 4, 511322, tzinfo=UTC)
        return Evaluation(step=step, epoch=1, mean_loss=loss, targets=9, right_targets=4, compute_time=time)

    def test_they_are_read_back_up_to_a_step_and_the_last_line_of_a_step_counts(self, tmp_path):
        log = EvaluationLog(tmp_path / "evaluations.jsonl")
        assert log.read(10) == ()
        log.append([self.evaluation(2), self.evaluation(4)])
        log.append([self.evaluation(4, 1.25), self.evaluation(6)])
        assert log.read(5) == (self.evaluation(2), self.evaluation(4, 1.25))

    def test_a_line_that_a_crash_left_incomplete_is_left_out(self, tmp_path):
        log = EvaluationLog(tmp_path / "evaluations.jsonl")
        log.append([self.evaluation(2)])
        with log.path.open("a") as file:
            file.write('[4, 1, 1.5\n[4, 1]\n"x"\n')
        log.append([self.evaluation(6)])
        assert log.read(10) == (self.evaluation(2), self.evaluation(6))
