import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
import torch

from tuningfork.domain.tuning_job import Snapshot
from tuningfork.execution import checkpoints as module
from tuningfork.execution.checkpoints import Checkpoints
from tuningfork.execution.step_log import StepLog
from tuningfork.training.checkpoint import TrainingState, load_state, save_state
from tuningfork.training.optimizer import AdamW


def snapshot(step: int) -> Snapshot:
    return Snapshot(step=step, epoch=1, mean_loss=1 / step, compute_time=datetime(2025, 1, 1, tzinfo=UTC))


def state(step: int) -> TrainingState:
    weights = torch.full((10,), float(step))
    return TrainingState(job="digest", step=step, weights_P=weights, optimizer=AdamW.fresh(weights))


@pytest.fixture
def checkpoints(tmp_path):
    with ThreadPoolExecutor(1) as writers:
        yield Checkpoints("job", tmp_path / "checkpoint", StepLog(tmp_path / "steps.jsonl"), writers)


@pytest.fixture
def gate(monkeypatch):
    """Opens for the writer when it is set."""
    opened = threading.Event()

    def slow(directory, saved):
        assert opened.wait(10)
        save_state(directory, saved)

    monkeypatch.setattr(module, "save_state", slow)
    return opened


def test_what_is_saved_is_there_once_it_is_settled(checkpoints):
    for step in (1, 2):
        checkpoints.note(snapshot(step))
    checkpoints.save(state(2))
    checkpoints.settle()
    assert load_state(checkpoints.directory, "digest").step == 2
    assert checkpoints.log.read(2) == (snapshot(1), snapshot(2))


def test_nobody_waits_for_the_disk(checkpoints, gate):
    checkpoints.note(snapshot(1))
    checkpoints.save(state(1))
    assert checkpoints.busy
    checkpoints.note(snapshot(2))
    gate.set()
    checkpoints.settle()
    assert not checkpoints.busy
    assert load_state(checkpoints.directory, "digest").step == 1
    # The second step goes with the next checkpoint.
    assert checkpoints.log.read(2) == (snapshot(1),)
    checkpoints.save(state(2))
    checkpoints.settle()
    assert checkpoints.log.read(2) == (snapshot(1), snapshot(2))


def test_a_full_disk_costs_one_checkpoint_and_no_step(checkpoints, monkeypatch, caplog):
    def full(directory, saved):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_state", full)
    checkpoints.note(snapshot(1))
    checkpoints.save(state(1))
    checkpoints.settle()
    assert "has no checkpoint" in caplog.text
    monkeypatch.undo()
    checkpoints.note(snapshot(2))
    checkpoints.save(state(2))
    checkpoints.settle()
    assert load_state(checkpoints.directory, "digest").step == 2
    assert checkpoints.log.read(2) == (snapshot(1), snapshot(2))
