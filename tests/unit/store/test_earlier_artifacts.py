"""Artifacts of versions that wrote no manifests are usable after an update, unfinished jobs included."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
import torch

from tuningfork.artifacts.base import ArtifactMissing
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.tuning_job import JobId, Snapshot
from tuningfork.execution.dataset_file import DatasetFile
from tuningfork.execution.local.savepoints import Savepoints
from tuningfork.execution.local.step_log import StepLog
from tuningfork.store.artifacts import Artifacts
from tuningfork.training.optimizer import AdamW
from tuningfork.training.savepoint import TrainingState, load_state, save_state

JOB, OTHER = JobId("abc"), JobId("def")
SNAPSHOTS = tuple(
    Snapshot(step=step, epoch=1, mean_loss=1 / step, compute_time=datetime(2025, 1, 1, tzinfo=UTC))
    for step in range(1, 5)
)


def state(step):
    weights = torch.full((10,), float(step))
    return TrainingState(job="digest", step=step, weights_P=weights, optimizer=AdamW.fresh(weights))


@pytest.fixture
def root(tmp_path):
    """What such a version left: everything in its place, and a job under way."""
    for directory in ("datasets", "adapters/abc", "work/def/source"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "datasets/abc.jsonl").write_text('{"text_input": "1", "output": "2"}\n')
    for adapter in ("adapters/abc", "work/def/source"):
        (tmp_path / adapter / "adapter_model.safetensors").write_text("weights")
    return tmp_path


def saved(root):
    """The step that the unfinished job would resume from, and the snapshots beside it; None if there is none."""
    artifacts = Artifacts(root)
    with ThreadPoolExecutor(1) as writers:
        savepoints = Savepoints("job", artifacts.store, artifacts.work(OTHER).below("savepoints"), writers)
        if (last := savepoints.last()) is None:
            return None
        with artifacts.store.reading(last) as directory:
            step = load_state(directory, "digest").step
            savepoints.recall(directory, step)
        return step, tuple(savepoints.snapshots)


def test_datasets_adapters_and_sources_are_adopted(root):
    artifacts = Artifacts(root)
    with artifacts.store.reading(artifacts.dataset(JOB)) as path:
        assert tuple(DatasetFile(path)) == (Conversation.pair("1", "2"),)
    for ref in (artifacts.adapter(JOB), artifacts.source(OTHER)):
        with artifacts.store.reading(ref) as path:
            assert (path / "adapter_model.safetensors").read_text() == "weights"


def test_what_lacks_its_manifest_later_does_not_exist(root):
    Artifacts(root)
    (root / "datasets/def.jsonl").write_text("what a crash left")
    artifacts = Artifacts(root)
    with pytest.raises(ArtifactMissing), artifacts.store.reading(artifacts.dataset(OTHER)):
        pass


def test_the_savepoint_that_an_earlier_version_left_is_found(root):
    former = root / "work/def/checkpoint"
    save_state(former, state(4))
    (former / "savepoint.safetensors").rename(former / "checkpoint.safetensors")
    StepLog(root / "work/def/steps.jsonl").append(SNAPSHOTS)

    for _ in range(2):
        assert saved(root) == (4, SNAPSHOTS)


def test_a_newer_savepoint_is_not_replaced_by_a_former_one(root):
    save_state(root / "work/def/savepoint", state(8))
    (root / "work/def/checkpoint").mkdir()
    (root / "work/def/checkpoint/checkpoint.safetensors").write_bytes(b"older")

    assert saved(root) == (8, ())


def test_a_savepoint_that_cannot_be_moved_costs_its_steps_only(root):
    (root / "work/def/checkpoint").mkdir()
    (root / "work/def/checkpoint/checkpoint.safetensors").write_bytes(b"older")
    (root / "work/def/savepoints").write_text("where the directory should be")

    assert saved(root) is None
