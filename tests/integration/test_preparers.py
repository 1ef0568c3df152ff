"""Data of jobs is read from a bucket by a real preparer, whatever is in it and however the preparer ends."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from patience import PATIENCE_SECONDS, wait_until
from row_files import EndlessRows, RowFile, row_of
from tuningfork.artifacts.local import LocalArtifactStore
from tuningfork.buckets.configuration import BucketSettings, MappedBucket
from tuningfork.buckets.errors import ObjectNotFound
from tuningfork.buckets.files import BucketFile
from tuningfork.catalog import EMBEDDED_MODEL
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.errors import Cancelled, Unavailable
from tuningfork.domain.permission import LOCAL_PRINCIPAL
from tuningfork.domain.training_rows import RowFault
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import WorkerDied
from tuningfork.execution.dataset_file import DatasetFile
from tuningfork.execution.local import environment
from tuningfork.execution.local.preparers import LocalPreparers
from tuningfork.execution.preparation import PreparationRequest
from tuningfork.wire.vertex.rows import read_row

pytestmark = pytest.mark.slow

SUPPORT = str(Path(__file__).parents[1] / "support")
ENDLESS = EndlessRows(row_of("What is 1 + 1?", "2"))


@pytest.fixture
def preparers(tmp_path):
    paths = {"PYTHONPATH": os.pathsep.join([SUPPORT, os.environ.get("PYTHONPATH", "")])}
    variables = environment.of_worker(1, "warning") | environment.of_artifacts(tmp_path / "artifacts") | paths
    preparers = LocalPreparers(variables)
    yield preparers
    preparers.close()


@pytest.fixture
def request_for(tmp_path):
    def make(source, job="abc"):
        return PreparationRequest(
            job_id=JobId(job),
            base=EMBEDDED_MODEL,
            training=source,
            validation=None,
            read_row=read_row,
            work=ArtifactRef(f"work/{job}"),
        )

    return make


@pytest.fixture
def bucket_file(tmp_path):
    (tmp_path / "bucket").mkdir()
    settings = BucketSettings(
        root=tmp_path / "buckets", mapped=(MappedBucket(name="shared", directory=tmp_path / "bucket"),)
    )

    def make(*lines, name="t.jsonl"):
        if lines:
            (tmp_path / "bucket" / name).write_bytes(b"\n".join(lines))
        return BucketFile(settings=settings, uri=f"gs://shared/{name}", reader=LOCAL_PRINCIPAL)

    return make


def preparer_of(tmp_path, job):
    """The process that writes the examples of this job; None: none does."""
    for process in Path("/proc").glob("[0-9]*/fd"):
        try:
            open_files = [str(each.readlink()) for each in process.iterdir()]
        except OSError:
            continue
        if str(tmp_path / "artifacts" / "work" / job / "training.aside") in open_files:
            return int(process.parent.name)
    return None


def test_rows_of_a_bucket_become_a_dataset(preparers, request_for, bucket_file, tmp_path):
    prepared = preparers.prepare(request_for(bucket_file(row_of("1", "2"), row_of("3", "4", "5", "6"))))

    with LocalArtifactStore(tmp_path / "artifacts").reading(prepared.training.file, verified=True) as path:
        assert DatasetFile(path)[0] == Conversation.pair("1", "2")
    assert prepared.statistics.output_tokens.sum == 2 + 4


def test_hostile_rows_are_refused_by_their_number(preparers, request_for, bucket_file):
    hostile = [b"[" * 1_000_000, b'{"contents": ' + b"[" * 1_000_000, b"\x00\xff", b'{"a":' + b"9" * 1_000_000 + b"}"]
    for row in hostile:
        with pytest.raises(RowFault, match=r"^Row: 1\. The row "):
            preparers.prepare(request_for(bucket_file(row_of("1", "2"), row)))


def test_an_object_that_has_gone_is_told_as_such(preparers, request_for, bucket_file):
    with pytest.raises(ObjectNotFound):
        preparers.prepare(request_for(bucket_file(name="gone.jsonl")))


def test_a_file_that_hangs_ends_its_preparer_and_is_told_as_out_of_reach(preparers, request_for, tmp_path):
    os.mkfifo(tmp_path / "hangs")
    hanging = replace(request_for(RowFile(tmp_path / "hangs")), patience_seconds=0.5)

    with pytest.raises(Unavailable, match="Nothing came for too long of what follows row 0"):
        preparers.prepare(hanging)


def test_a_preparation_is_cancelled_and_repeated_after_its_process_was_killed(
    preparers, request_for, bucket_file, tmp_path
):
    with ThreadPoolExecutor(2) as aside:
        killed, cancelled = (aside.submit(preparers.prepare, request_for(ENDLESS, job)) for job in ("killed", "gone"))
        wait_until(lambda: preparer_of(tmp_path, "killed") and preparer_of(tmp_path, "gone"))

        os.kill(preparer_of(tmp_path, "killed"), signal.SIGKILL)
        with pytest.raises(WorkerDied, match="signal 9"):
            killed.result(PATIENCE_SECONDS)

        begun = time.monotonic()
        preparers.cancel(JobId("gone"))
        with pytest.raises(Cancelled):
            cancelled.result(PATIENCE_SECONDS)
        assert preparer_of(tmp_path, "gone") is None
        # It takes at most a third of a second on an idle machine.
        assert time.monotonic() - begun < PATIENCE_SECONDS

    again = preparers.prepare(request_for(bucket_file(row_of("1", "2")), "killed"))
    assert again.training.count == 1
