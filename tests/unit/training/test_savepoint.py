import math

import pytest
import torch

from small_files import no_file_longer_than
from tuningfork.domain.errors import InternalError
from tuningfork.training.optimizer import AdamW
from tuningfork.training.savepoint import FILE, TrainingState, load_state, recorded_job, save_state


def state(step: int = 3, job: str = "digest") -> TrainingState:
    draw = torch.Generator().manual_seed(step)
    weights, mean, square = (torch.randn(50, generator=draw) for _ in range(3))
    return TrainingState(job=job, step=step, weights_P=weights, optimizer=AdamW(mean, square.abs()))


def assert_same(found: TrainingState | None, wanted: TrainingState) -> None:
    assert found is not None
    assert (found.job, found.step) == (wanted.job, wanted.step)
    assert torch.equal(found.weights_P, wanted.weights_P)
    assert torch.equal(found.optimizer.mean_P, wanted.optimizer.mean_P)
    assert torch.equal(found.optimizer.square_P, wanted.optimizer.square_P)


def test_what_is_saved_is_loaded_to_the_bit(tmp_path):
    save_state(tmp_path / "work" / "savepoint", state())
    assert_same(load_state(tmp_path / "work" / "savepoint", "digest"), state())


def test_a_later_savepoint_takes_the_place_of_an_earlier_one(tmp_path):
    save_state(tmp_path, state(step=3))
    save_state(tmp_path, state(step=4))
    assert_same(load_state(tmp_path, "digest"), state(step=4))
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_savepoint_outlives_its_file_being_replaced_while_it_is_in_use(tmp_path):
    save_state(tmp_path, state(step=3))
    loaded = load_state(tmp_path, "digest")
    save_state(tmp_path, state(step=4))
    (tmp_path / FILE).write_bytes(b"")
    assert_same(loaded, state(step=3))


def test_what_a_killed_writer_left_aside_is_not_taken_for_a_savepoint(tmp_path):
    save_state(tmp_path, state(step=3))
    (tmp_path / f".{FILE}.123").write_bytes((tmp_path / FILE).read_bytes()[:100])
    assert_same(load_state(tmp_path, "digest"), state(step=3))


def test_what_cannot_be_written_leaves_the_earlier_state_and_nothing_aside(tmp_path):
    save_state(tmp_path, state(step=3))
    with no_file_longer_than(100), pytest.raises(OSError, match="File too large"):
        save_state(tmp_path, state(step=4))
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert_same(load_state(tmp_path, "digest"), state(step=3))


def test_a_directory_without_a_savepoint_has_none(tmp_path):
    assert load_state(tmp_path, "digest") is None
    assert load_state(tmp_path / "nowhere", "digest") is None


def test_the_savepoint_of_another_job_is_refused(tmp_path):
    save_state(tmp_path, state(job="other"))
    with pytest.raises(InternalError, match="savepoint of another job"):
        load_state(tmp_path, "digest")


@pytest.mark.parametrize("which", ["weights_P", "mean_P", "square_P"])
@pytest.mark.parametrize("number", [math.nan, math.inf, -1.0])
def test_a_savepoint_with_numbers_that_no_training_has_is_damaged(tmp_path, which, number):
    spoiled = state()
    vector_P = spoiled.weights_P if which == "weights_P" else getattr(spoiled.optimizer, which)
    vector_P[7] = number
    save_state(tmp_path, spoiled)
    if number == -1.0 and which != "square_P":
        assert_same(load_state(tmp_path, "digest"), spoiled)
        return
    with pytest.raises(InternalError, match="is damaged"):
        load_state(tmp_path, "digest")


def test_a_savepoint_of_another_size_is_damaged(tmp_path):
    save_state(tmp_path, state())
    assert load_state(tmp_path, "digest", 50) is not None
    with pytest.raises(InternalError, match="is damaged"):
        load_state(tmp_path, "digest", 51)


def test_a_file_that_is_no_savepoint_is_told(tmp_path):
    save_state(tmp_path, state())
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-1])
    with pytest.raises(InternalError, match="is not a savepoint"):
        load_state(tmp_path, "digest")


def test_a_savepoint_that_the_system_cannot_read_is_not_taken_for_none(tmp_path):
    assert recorded_job(tmp_path) is None
    (tmp_path / FILE).write_bytes(b"this is no savepoint")
    assert recorded_job(tmp_path) is None
    (tmp_path / FILE).unlink()
    # A file of this name exists, and cannot be read.
    (tmp_path / FILE).mkdir()
    with pytest.raises(OSError, match=r"os error|directory"):
        recorded_job(tmp_path)
    with pytest.raises(OSError, match=r"os error|directory"):
        load_state(tmp_path, "digest")
