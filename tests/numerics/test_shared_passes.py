"""What is promised on a CPU: jobs that are trained together have, each, the bits that they have alone.

They share passes in bfloat16, but not with AMX, and in float32 with the compiled parts. Otherwise each has passes of
its own, as many at the same time as there are lanes.
"""

import math

import pytest
import torch

from tiny_models import Architecture, tiny_base_model
from training_runs import LETTERS, NUMBERS, curve, engine_over, job, run_to_the_end
from tuningfork.catalog import EMBEDDED_MODEL
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.tuning_job import JobId
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.compiled.cohorts import cohort_products
from tuningfork.modeling.compiled.proof import proven
from tuningfork.modeling.device.processor import has_amx
from tuningfork.modeling.loading import load_base
from tuningfork.training.pass_runner import PassRunner
from tuningfork.training.passes import forward_backward
from tuningfork.training.reports import TrainingDiverged
from tuningfork.training.sharing import JOBS_ON_CPU, jobs_per_pass

EIGHT = AdapterShape(rank=8, alpha=80.0)
LOW = AdapterShape(rank=1, alpha=4.0)
JOBS = (
    job("a", adapter=EIGHT, epoch_count=3, seed=1),
    job("b", adapter=EIGHT, epoch_count=3, seed=2),
    job("letters", adapter=EIGHT, examples=LETTERS, batch_size=2, seed=3),
    job("one by one", adapter=LOW, examples=NUMBERS[2:], batch_size=1, epoch_count=1, seed=4),
    job("large", adapter=EIGHT, batch_size=7, epoch_count=4, learning_rate=0.003, seed=5),
    job("low", adapter=LOW, seed=6),
    job("louder", adapter=AdapterShape(rank=8, alpha=10.0), seed=7),
    job("wide", adapter=AdapterShape(rank=32, alpha=32.0), batch_size=4, seed=8),
)
"""Of different data, batches, ranks, scales and lengths; those of rank 1 meet."""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("embedded", torch.bfloat16), id="embedded", marks=pytest.mark.bf16),
        pytest.param(("llama", torch.bfloat16), id="llama", marks=pytest.mark.bf16),
        pytest.param(("embedded", torch.float32), id="embedded-fp32"),
        pytest.param(("llama", torch.float32), id="llama-fp32"),
    ],
)
def base(request):
    name, dtype = request.param
    if name == "embedded":
        return load_base(EMBEDDED_MODEL, dtype=dtype)
    directories = request.getfixturevalue("tiny_directories")
    return load_base(tiny_base_model(Architecture.LLAMA, directories["llama"]), dtype=dtype)


def adapter_bytes(engine, one, directory) -> bytes:
    engine.save_adapter(one.id, directory)
    return (directory / adapter_format.WEIGHTS).read_bytes()


@pytest.fixture(scope="module")
def alone(base, tmp_path_factory):
    """Each job's losses and its adapter's bytes when it has the base to itself."""
    found = {}
    for one in JOBS:
        engine = engine_over(base)
        engine.admit(one)
        losses = curve(run_to_the_end(engine), one.id)
        found[one.id] = losses, adapter_bytes(engine, one, tmp_path_factory.mktemp("alone"))
        engine.release(one.id)
    return found


def assert_as_alone(engine, reports, alone, tmp_path, jobs=JOBS):
    for one in jobs:
        losses, adapter = alone[one.id]
        assert curve(reports, one.id) == losses, one.id
        assert adapter_bytes(engine, one, tmp_path / one.id) == adapter, one.id


@pytest.fixture(
    params=[
        pytest.param(1, id="one_lane"),
        pytest.param(2, id="two_lanes", marks=pytest.mark.slow),
        pytest.param(5, id="five_lanes"),
    ]
)
def shared(base, request):
    """Jobs that fall due together share one pass, or as many as there are threads, computed at the same time."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    engine = engine_over(base, max_jobs_per_step=jobs_per_pass(base))
    yield engine
    for name in list(engine._jobs):
        engine.release(name)
    torch.set_num_threads(before)


def test_jobs_share_passes_over_exact_products_which_oneDNNs_with_amx_and_mkls_are_not(base):  # noqa: N802
    exact = not has_amx() if base.dtype == torch.bfloat16 else cohort_products(proven(), base.dtype) is not None
    assert jobs_per_pass(base) == (JOBS_ON_CPU if exact else 1)


def due_at_once(base, lanes) -> int:
    return len(JOBS) if jobs_per_pass(base) == len(JOBS) else lanes


def test_jobs_that_begin_together_end_as_they_would_alone(base, shared, alone, tmp_path):
    for one in JOBS:
        shared.admit(one)
    assert len(shared.advance()) == due_at_once(base, shared._passes._lanes)
    for one in JOBS:
        shared.release(one.id)
        shared.admit(one)
    assert_as_alone(shared, run_to_the_end(shared), alone, tmp_path)


def test_jobs_that_come_one_after_the_other_end_as_they_would_alone(shared, alone, tmp_path):
    reports = []
    for one in reversed(JOBS):
        shared.admit(one)
        reports += shared.step()
    assert_as_alone(shared, reports + run_to_the_end(shared), alone, tmp_path)


def test_jobs_are_dealt_out_to_as_many_lanes_as_there_are(base, shared):
    passes, lanes = [], shared._passes._lanes

    def noted(*given, lane, **how):
        passes.append((lane, len(given[2])))
        return forward_backward(*given, lane=lane, **how)

    shared._passes = PassRunner(base, jobs_per_pass=jobs_per_pass(base), capture=None, compute=noted)
    for one in JOBS:
        shared.admit(one)
    shared.advance()
    assert [lane for lane, _ in sorted(passes)] == list(range(lanes))
    due = due_at_once(base, lanes)
    assert sum(jobs for _, jobs in passes) == due
    assert max(jobs for _, jobs in passes) == math.ceil(due / lanes)


def test_what_goes_wrong_in_a_lane_is_raised_when_the_others_are_done(base, shared):
    for one in JOBS:
        shared.admit(one)
    last = shared._passes._lanes - 1

    def failing(*given, lane, **how):
        if lane == last:
            raise MemoryError(f"lane {lane}")
        return forward_backward(*given, lane=lane, **how)

    shared._passes = PassRunner(base, jobs_per_pass=jobs_per_pass(base), capture=None, compute=failing)
    with pytest.raises(MemoryError, match=f"lane {last}"):
        shared.advance()


def test_a_job_that_diverges_changes_no_bit_of_the_others(shared, alone, tmp_path):
    shared.admit(job("wild", adapter=EIGHT, learning_rate=math.inf))
    for one in JOBS:
        shared.admit(one)
    reports = []
    with pytest.raises(TrainingDiverged) as caught:
        run_to_the_end(shared, reports.append)
    assert caught.value.job_id == "wild"
    assert_as_alone(shared, reports + run_to_the_end(shared), alone, tmp_path)


def test_a_job_that_is_stopped_and_resumed_among_others_ends_as_it_would_alone(base, shared, alone, tmp_path):
    for one in JOBS:
        shared.admit(one)
    stopped = JOBS[1]
    reports = []
    while len(curve(reports, stopped.id)) < 2:
        reports += shared.step()
    shared.write_savepoint(stopped.id, tmp_path / "savepoint")
    shared.release(stopped.id)
    reports += run_to_the_end(shared)
    assert_as_alone(shared, reports, alone, tmp_path, [one for one in JOBS if one is not stopped])
    for name in list(shared._jobs):
        shared.release(JobId(name))
    again = engine_over(base, max_jobs_per_step=min(3, jobs_per_pass(base)))
    assert again.admit(stopped, tmp_path / "savepoint") == 2
    again.admit(JOBS[0])
    again.admit(JOBS[4])
    reports = [report for report in reports if report.job_id == stopped.id] + run_to_the_end(again)
    assert_as_alone(again, reports, alone, tmp_path / "again", [stopped])
    for name in list(again._jobs):
        again.release(JobId(name))


def test_the_number_of_threads_changes_no_bit(base, shared, alone, tmp_path):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        for one in JOBS:
            shared.admit(one)
        assert_as_alone(shared, run_to_the_end(shared), alone, tmp_path)
    finally:
        torch.set_num_threads(before)
