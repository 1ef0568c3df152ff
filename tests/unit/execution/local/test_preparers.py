"""Each job's data is read by a process of its own, whose end and whose refusals the server learns, and nothing else."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fakes import ECHO_BASE
from patience import PATIENCE_SECONDS, wait_until
from row_files import EndlessRows
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.errors import BaseUnusable, Cancelled, ResourceExhausted, Unavailable
from tuningfork.domain.training_rows import DataFault, RowFault
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import WorkerDied
from tuningfork.execution.local.preparers import LocalPreparers
from tuningfork.execution.preparation import PreparationRequest
from tuningfork.wire.vertex.rows import read_row

TOYS = Path(__file__).parents[3] / "toy_workers"
PATHS = os.pathsep.join([str(TOYS), str(TOYS.parent / "support"), os.environ.get("PYTHONPATH", "")])


def request(job):
    return PreparationRequest(
        job_id=JobId(job),
        base=ECHO_BASE,
        training=EndlessRows(b"{}"),
        validation=None,
        read_row=read_row,
        work=ArtifactRef(f"work/{job}"),
    )


@pytest.fixture
def preparers(tmp_path):
    preparers = LocalPreparers({"PYTHONPATH": PATHS, "TOY_PIDS": str(tmp_path)}, "toy_preparer")
    yield preparers
    preparers.close()


@pytest.fixture
def aside():
    with ThreadPoolExecutor(2) as threads:
        yield threads


def is_over(tmp_path, job):
    try:
        os.kill(int((tmp_path / job).read_text(encoding="ascii")), 0)
    except ProcessLookupError:
        return True
    return False


def test_a_refusal_of_the_data_arrives_with_its_facts(preparers, tmp_path):
    with pytest.raises(RowFault, match=r"^Row: 7 of the validation dataset\. It is empty\.$") as refused:
        preparers.prepare(request("faulty"))

    assert (refused.value.row, refused.value.is_validation) == (7, True)
    wait_until(lambda: is_over(tmp_path, "faulty"))


def test_a_full_disk_is_told_as_one(preparers):
    with pytest.raises(ResourceExhausted):
        preparers.prepare(request("full"))


@pytest.mark.parametrize("job", ["killed", "basekilled"])
def test_a_preparer_that_is_killed_can_be_replaced(preparers, job):
    with pytest.raises(WorkerDied, match=r"signal 9"):
        preparers.prepare(request(job))
    with pytest.raises(RowFault):
        preparers.prepare(request("faulty"))


def test_rows_that_take_too_long_are_at_fault(preparers):
    with pytest.raises(DataFault, match="Counting the tokens of the rows after row 1000 took too long"):
        preparers.prepare(request("overtime"))


def test_a_base_that_takes_too_long_to_be_read_is_at_fault(preparers):
    with pytest.raises(BaseUnusable, match="reading its configuration, tokenizer and template took too long"):
        preparers.prepare(request("baseovertime"))


@pytest.mark.parametrize(
    ("job", "what"), [("waiting", "what follows row 1000"), ("basewaiting", "the configuration of base model")]
)
def test_files_that_keep_a_preparer_waiting_are_told_as_out_of_reach(preparers, job, what):
    with pytest.raises(Unavailable, match=f"Nothing came for too long of {what}"):
        preparers.prepare(request(job))


@pytest.mark.parametrize("job", ["rogue", "mute"])
def test_a_preparer_that_sends_what_is_no_report_is_killed(preparers, tmp_path, job):
    with pytest.raises(WorkerDied):
        preparers.prepare(request(job))

    wait_until(lambda: is_over(tmp_path, job))


def test_a_preparation_that_is_cancelled_ends_with_its_process(preparers, aside, tmp_path):
    under_way = [aside.submit(preparers.prepare, request(job)) for job in ("one", "two")]
    wait_until(lambda: all((tmp_path / job).is_file() for job in ("one", "two")))

    preparers.cancel(JobId("unknown"))
    preparers.cancel(JobId("one"))

    with pytest.raises(Cancelled):
        under_way[0].result(PATIENCE_SECONDS)
    assert is_over(tmp_path, "one")
    assert not under_way[1].done()
    preparers.cancel(JobId("two"))


def test_the_data_of_a_job_is_prepared_once_at_a_time(preparers, aside, tmp_path):
    under_way = aside.submit(preparers.prepare, request("one"))
    wait_until((tmp_path / "one").is_file)

    with pytest.raises(WorkerDied, match="is being prepared already"):
        preparers.prepare(request("one"))
    preparers.cancel(JobId("one"))
    with pytest.raises(Cancelled):
        under_way.result(PATIENCE_SECONDS)


def test_closing_ends_all_preparations(preparers, aside, tmp_path):
    under_way = aside.submit(preparers.prepare, request("one"))
    wait_until((tmp_path / "one").is_file)

    threading.Thread(target=preparers.close).start()

    with pytest.raises(WorkerDied, match="shutting down"):
        under_way.result(PATIENCE_SECONDS)
    assert is_over(tmp_path, "one")
    with pytest.raises(WorkerDied, match="shutting down"):
        preparers.prepare(request("two"))
