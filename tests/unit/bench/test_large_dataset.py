"""A dataset passes create, check and the trainer's admission without ever being in memory, at a small size."""

import pytest

import large_dataset

pytestmark = pytest.mark.slow


def test_a_dataset_passes_each_phase_in_little_memory_and_trains_before_all_of_it_is_read(tmp_path):
    path = tmp_path / "dataset.jsonl"
    count = large_dataset.write_dataset(path, gigabytes=0.04)

    found = {phase: large_dataset.measured(phase, path) for phase in large_dataset.PHASES}

    assert found["train"]["examples"] == count
    assert found["train"]["examples_read"] < 0.75 * count
    # All examples of this file would take more, and a trainer that rendered them all far more.
    assert found["create"]["bytes"] < 40e6
    assert found["check"]["bytes"] < 40e6
    assert found["train"]["bytes"] < 100e6
