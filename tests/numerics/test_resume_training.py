"""A job that is interrupted after any of its steps, and resumed in a fresh engine, ends with the same bits."""

import pytest
import torch

import precisions
from training_runs import NUMBERS, curve, engine_over, job, run_to_the_end, weights_of
from tuningfork.domain.tuning_job import JobId
from tuningfork.modeling.loading import load_base

STEPS = 5
ONE = job(epoch_count=2, batch_size=3)


@pytest.mark.parametrize(
    ("tiny_base", "dtype"),
    precisions.EVERY_ARCHITECTURE_AND_BFLOAT16,
    indirect=["tiny_base"],
)
def test_a_job_resumed_after_any_step_ends_with_the_same_adapter(tiny_base, tmp_path, dtype):
    undisturbed = engine_over(load_base(tiny_base, dtype=dtype))
    undisturbed.admit(ONE)

    def keep(report):
        undisturbed.write_savepoint(ONE.id, tmp_path / str(report.snapshot.step))

    reports = run_to_the_end(undisturbed, keep)
    undisturbed.save_adapter(ONE.id, tmp_path / "wanted")
    assert len(reports) == STEPS
    for step in range(STEPS + 1):
        engine = engine_over(load_base(tiny_base, dtype=dtype))
        # There is no savepoint of step 0: the job starts at the start.
        assert engine.admit(ONE, tmp_path / str(step)) == step
        again = run_to_the_end(engine)
        assert curve(again) == curve(reports)[step:]
        assert [report.snapshot.step for report in again] == list(range(step + 1, STEPS + 1))
        assert torch.equal(weights_of(engine), weights_of(undisturbed))
        engine.save_adapter(ONE.id, tmp_path / f"adapter{step}")
        for name in ("adapter_model.safetensors", "adapter_config.json"):
            assert (tmp_path / f"adapter{step}" / name).read_bytes() == (tmp_path / "wanted" / name).read_bytes()


def test_a_job_may_be_interrupted_after_every_single_step(tiny_llama, tmp_path):
    undisturbed = engine_over(load_base(tiny_llama))
    undisturbed.admit(ONE)
    run_to_the_end(undisturbed)
    for step in range(STEPS):
        engine = engine_over(load_base(tiny_llama))
        assert engine.admit(ONE, tmp_path) == step
        engine.step()
        engine.write_savepoint(ONE.id, tmp_path)
    assert torch.equal(weights_of(engine), weights_of(undisturbed))


def test_a_resumed_job_finds_its_place_among_others(tiny_llama, tmp_path):
    base = load_base(tiny_llama)
    undisturbed = engine_over(base)
    undisturbed.admit(ONE)
    undisturbed.step()
    undisturbed.write_savepoint(ONE.id, tmp_path)
    run_to_the_end(undisturbed)
    engine = engine_over(load_base(tiny_llama))
    engine.admit(job("before", examples=NUMBERS[:2]))
    engine.admit(ONE, tmp_path)
    engine.admit(job("after", examples=NUMBERS[2:]))
    run_to_the_end(engine)
    assert torch.equal(weights_of(engine), weights_of(undisturbed))


def test_a_finished_job_resumes_with_nothing_left_to_do(tiny_llama, tmp_path):
    engine = engine_over(load_base(tiny_llama))
    engine.admit(ONE)
    run_to_the_end(engine)
    engine.write_savepoint(ONE.id, tmp_path)
    again = engine_over(load_base(tiny_llama))
    assert again.admit(ONE, tmp_path) == STEPS
    assert again.step() == []
    again.save_adapter(JobId("job"), tmp_path / "adapter")
    assert (tmp_path / "adapter").is_dir()
