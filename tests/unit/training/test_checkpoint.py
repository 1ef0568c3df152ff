import resource
import signal

import pytest
import torch

from tuningfork.domain.errors import InternalError
from tuningfork.training.checkpoint import FILE, TrainingState, load_state, save_state
from tuningfork.training.optimizer import AdamW


def state(step: int = 3, job: str = "digest") -> TrainingState:
    draw = torch.Generator().manual_seed(step)
    weights, mean, square = (torch.randn(50, generator=draw) for _ in range(3))
    return TrainingState(job=job, step=step, weights_P=weights, optimizer=AdamW(mean, square))


def assert_same(found: TrainingState | None, wanted: TrainingState) -> None:
    assert found is not None
    assert (found.job, found.step) == (wanted.job, wanted.step)
    assert torch.equal(found.weights_P, wanted.weights_P)
    assert torch.equal(found.optimizer.mean_P, wanted.optimizer.mean_P)
    assert torch.equal(found.optimizer.square_P, wanted.optimizer.square_P)


def test_what_is_saved_is_loaded_to_the_bit(tmp_path):
    save_state(tmp_path / "work" / "checkpoint", state())
    assert_same(load_state(tmp_path / "work" / "checkpoint", "digest"), state())


def test_a_later_checkpoint_takes_the_place_of_an_earlier_one(tmp_path):
    save_state(tmp_path, state(step=3))
    save_state(tmp_path, state(step=4))
    assert_same(load_state(tmp_path, "digest"), state(step=4))
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_checkpoint_outlives_its_file_being_replaced_while_it_is_in_use(tmp_path):
    save_state(tmp_path, state(step=3))
    loaded = load_state(tmp_path, "digest")
    save_state(tmp_path, state(step=4))
    (tmp_path / FILE).write_bytes(b"")
    assert_same(loaded, state(step=3))


def test_what_a_killed_writer_left_aside_is_not_taken_for_a_checkpoint(tmp_path):
    save_state(tmp_path, state(step=3))
    (tmp_path / f".{FILE}.123").write_bytes((tmp_path / FILE).read_bytes()[:100])
    assert_same(load_state(tmp_path, "digest"), state(step=3))


def test_what_cannot_be_written_leaves_the_earlier_state_and_nothing_aside(tmp_path):
    save_state(tmp_path, state(step=3))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save_state(tmp_path, state(step=4))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert_same(load_state(tmp_path, "digest"), state(step=3))


def test_a_directory_without_a_checkpoint_has_none(tmp_path):
    assert load_state(tmp_path, "digest") is None
    assert load_state(tmp_path / "nowhere", "digest") is None


def test_the_checkpoint_of_another_job_is_refused(tmp_path):
    save_state(tmp_path, state(job="other"))
    with pytest.raises(InternalError, match="checkpoint of another job"):
        load_state(tmp_path, "digest")


def test_a_file_that_is_no_checkpoint_is_told(tmp_path):
    save_state(tmp_path, state())
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-1])
    with pytest.raises(InternalError, match="is not a checkpoint"):
        load_state(tmp_path, "digest")
