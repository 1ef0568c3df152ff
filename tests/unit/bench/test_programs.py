"""The programs at a size that says nothing, to see that they run and agree; never how fast."""

import subprocess
import sys

import pytest

import decoding
import many_jobs
import precision
import report
import shapes
import training
import training_step

pytestmark = pytest.mark.slow


@pytest.fixture
def work(tmp_path):
    return training_step.smollm_work(tmp_path, shapes.TINY)


def test_steps_of_ours_and_of_plain_loops_end_with_the_same_loss(work, tmp_path):
    row, versions = training.compare(work, tmp_path, rounds=1, install=False, only="PEFT")

    made = row.as_json()
    # Nobody computes in bfloat16 where the processor has no products of it.
    in_bfloat16 = {training.PEFT_BFLOAT16} if precision.native("cpu") == "bfloat16" else set()
    assert set(made["peers"]) == {training.PEFT_FLOAT32} | in_bfloat16
    assert len(made["all"]["ours"]) == work.steps_a_round
    assert made["facts"]["loss_ours"] == pytest.approx(made["facts"][f"loss_peer, {training.PEFT_FLOAT32}"], rel=0.01)
    assert made["facts"]["loss_ours"] < made["facts"]["first loss"]
    assert "peft" in versions[training.PEFT_FLOAT32]


def test_the_examples_have_the_lengths_that_they_say(work, tmp_path):
    from children import Child  # noqa: PLC0415

    with Child("train_ours.py", training.ours_setup(work, "cpu")) as ours:
        rows = ours.ask("describe", steps=1, directory=str(tmp_path / "adapter"))["rows"]

    assert [len(row["ids"]) for row in rows] == list(training_step.LENGTHS)
    assert [len(row["ids"]) - row["first_target"] for row in rows] == [shapes.ANSWER_TOKENS] * 4


def test_everybody_writes_all_tokens_and_each_comparison_has_its_row(work, tmp_path):
    rows, _ = decoding.compare(
        shapes.TINY, work.model, tmp_path, rounds=1, install=False, only=decoding.TRANSFORMERS, new_tokens=4
    )

    made = [row.as_json() for row in rows]
    assert [set(row["peers"]) for row in made] == [
        {"transformers + PEFT, one adapter for all"},
        {"ours, no adapter"},
        {"transformers, eager"},
        {"transformers, eager"},
        {"transformers + PEFT"},
    ]


def test_jobs_at_once_are_compared_with_themselves_alone(work):
    row = many_jobs.engine_rows(work, rounds=1, jobs=2).as_json()

    assert row["facts"]["curves equal to those alone"] == "2 of 2"
    assert row["ours"] > 0


@pytest.mark.timeout(1_800)  # where TRL is installed, it takes part
def test_the_gpu_program_runs_on_a_cpu_at_a_size_of_no_use():
    before = sorted(path.name for path in report.RESULTS.glob("*"))

    done = subprocess.run(
        [sys.executable, report.HERE / "gpu.py", "--device", "cpu", "--tiny", "--rounds", "1", "--threads", "1"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "16 jobs at once" in done.stdout
    assert sorted(path.name for path in report.RESULTS.glob("*")) == before


def test_the_gpu_program_says_what_it_lacks():
    import torch  # noqa: PLC0415

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = subprocess.run([sys.executable, report.HERE / "gpu.py"], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "sees no CUDA device" in done.stderr
