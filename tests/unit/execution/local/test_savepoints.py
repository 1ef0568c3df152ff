import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
import torch

from patience import PATIENCE_SECONDS
from tuningfork.artifacts.local import LocalArtifactStore
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.tuning_job import Snapshot
from tuningfork.execution.local.savepoints import Savepoints
from tuningfork.training.optimizer import AdamW
from tuningfork.training.savepoint import TrainingState, load_state, save_state


def snapshot(step: int) -> Snapshot:
    return Snapshot(step=step, epoch=1, mean_loss=1 / step, compute_time=datetime(2025, 1, 1, tzinfo=UTC))


def state(step: int) -> TrainingState:
    weights = torch.full((10,), float(step))
    return TrainingState(job="digest", step=step, weights_P=weights, optimizer=AdamW.fresh(weights))


def saved_step(savepoints):
    """The step of the state that a trainer would resume from."""
    with savepoints.artifacts.reading(savepoints.last()) as directory:
        return load_state(directory, "digest").step


def logged(savepoints):
    """The snapshots up to the second step that a trainer would find beside that state."""
    resumed = Savepoints("job", savepoints.artifacts, savepoints.place, savepoints.writers)
    with savepoints.artifacts.reading(savepoints.last()) as directory:
        resumed.recall(directory, 2)
    return tuple(resumed.snapshots)


@pytest.fixture
def savepoints(tmp_path):
    with ThreadPoolExecutor(1) as writers:
        yield Savepoints("job", LocalArtifactStore(tmp_path), ArtifactRef("savepoints"), writers)


@pytest.fixture
def gate(savepoints):
    """Opens for the writer when it is set."""
    opened = threading.Event()

    def slow(directory, saved):
        assert opened.wait(PATIENCE_SECONDS)
        save_state(directory, saved)

    savepoints.write = slow
    return opened


def test_what_is_saved_is_there_once_it_is_settled(savepoints):
    for step in (1, 2):
        savepoints.note(snapshot(step))
    savepoints.save(state(2))
    savepoints.settle()
    assert saved_step(savepoints) == 2
    assert logged(savepoints) == (snapshot(1), snapshot(2))


def test_nobody_waits_for_the_disk(savepoints, gate):
    savepoints.note(snapshot(1))
    savepoints.save(state(1))
    assert savepoints.busy
    savepoints.note(snapshot(2))
    gate.set()
    savepoints.settle()
    assert not savepoints.busy
    assert saved_step(savepoints) == 1
    # The second step goes with the next savepoint.
    assert logged(savepoints) == (snapshot(1),)
    savepoints.save(state(2))
    savepoints.settle()
    assert logged(savepoints) == (snapshot(1), snapshot(2))


def test_a_full_disk_costs_one_savepoint_and_no_step(savepoints, caplog):
    def full(directory, saved):
        raise OSError(28, "No space left on device")

    savepoints.write = full
    savepoints.note(snapshot(1))
    savepoints.save(state(1))
    savepoints.settle()
    assert "has no savepoint" in caplog.text
    savepoints.write = save_state
    savepoints.note(snapshot(2))
    savepoints.save(state(2))
    savepoints.settle()
    assert saved_step(savepoints) == 2
    assert logged(savepoints) == (snapshot(1), snapshot(2))


def test_the_last_savepoint_alone_is_kept(savepoints):
    for step in (9, 10):
        savepoints.save(state(step))
    savepoints.settle()
    assert saved_step(savepoints) == 10
    assert len(savepoints.artifacts.refs_below(savepoints.place)) == 1


def test_all_savepoints_can_be_discarded(savepoints):
    savepoints.save(state(1))
    savepoints.settle()
    savepoints.discard()
    assert savepoints.last() is None
