"""Tuning on examples in buckets, over the workshop: preparers in this process, and calls of the dialect's methods."""

import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fakes import ECHO_CATALOG
from row_files import row_of
from tuningfork.artifacts.local import LocalArtifactStore
from tuningfork.buckets.buckets import Buckets
from tuningfork.buckets.configuration import BucketSettings, MappedBucket
from tuningfork.buckets.files import BucketFile
from tuningfork.catalog import EMBEDDED_MODEL
from tuningfork.dialect.call import MethodCall
from tuningfork.dialect.vertex.tuning_jobs import TuningJobMethods
from tuningfork.domain.base_model import BaseModel, Catalog
from tuningfork.domain.errors import Cancelled
from tuningfork.domain.permission import Principal
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import WorkerDied
from tuningfork.execution.local.dataset_making import DatasetMaking
from tuningfork.execution.preparation import PreparationRequest, Prepared
from tuningfork.familiar import VERTEX
from tuningfork.modeling.describing import describe
from tuningfork.modeling.token_counting import TokenCounter
from tuningfork.preparer import Preparer
from tuningfork.server.bucket_tuning import checks_of
from tuningfork.service.tuning.file_patience import FilePatience
from tuningfork.service.tuning.job_queue import JobQueue
from tuningfork.service.tuning.lease_watch import LEASE_SECONDS
from tuningfork.service.tuning.numbered_jobs import NumberedJobs
from tuningfork.service.tuning.preparing import FILE_PATIENCE, Preparing
from tuningfork.service.tuning.project_quota import UNLIMITED_PROJECTS, ProjectQuota
from tuningfork.wire.google.proto_json.encode import Typed, encode
from tuningfork.wire.vertex.rows import read_row
from workshop import ADA, SERVER, Workshop

PLACE = {"project": "p", "location": "us-central1"}
ANY = replace(ADA, project="local")
"""Ada with a key that is bound to no project."""
ROWS = [row_of(str(number), str(number + 1)) for number in range(15)]
URI = "gs://shared/t.jsonl"


class InProcessPreparers:
    """Implements `execution.preparation.Preparers` in its callers' threads, with the embedded model's tokenizer."""

    def __init__(self, store: LocalArtifactStore) -> None:
        self._store = store
        self._cancelled: set[JobId] = set()
        self._closed = False
        self.go_on = threading.Event()
        """Cleared by tests that hold preparations up after their first batch of rows."""
        self.go_on.set()
        self.begun = threading.Event()
        self.deaths = 0
        """How many further preparations end as if their process had died."""

    def prepare(self, request: PreparationRequest) -> Prepared:
        counter = TokenCounter(describe(EMBEDDED_MODEL))
        making = DatasetMaking(request, counter, self._store).run()
        while True:
            try:
                next(making)
            except StopIteration as ended:
                self.begun.set()
                self._wait(request.job_id)
                return ended.value

    def cancel(self, job_id: JobId) -> None:
        self._cancelled.add(job_id)

    def close(self) -> None:
        self._closed = True

    def _wait(self, job_id: JobId) -> None:
        while not self.go_on.wait(0.01):
            self._check(job_id)
        self._check(job_id)
        if self.deaths:
            self.deaths -= 1
            raise WorkerDied("the preparer was killed by signal 9")

    def _check(self, job_id: JobId) -> None:
        if self._closed:
            raise WorkerDied("the preparers are closed")
        if job_id in self._cancelled:
            self._cancelled.remove(job_id)
            raise Cancelled("it was cancelled")


@dataclass(frozen=True)
class Tunings:
    """A bucket, the use cases over it, and the methods of the dialect."""

    workshop: Workshop
    bucket: Path
    preparers: InProcessPreparers
    preparing: Preparing
    preparer: Preparer
    jobs: NumberedJobs
    methods: TuningJobMethods = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "methods", TuningJobMethods(self.jobs))

    def write(self, name: str = "t.jsonl", rows: list[bytes] | None = None) -> str:
        """Write a file of rows, and return its address."""
        (self.bucket / name).write_bytes(b"".join(row + b"\n" for row in (ROWS if rows is None else rows)))
        return f"gs://shared/{name}"

    def create(self, principal: Principal = ANY, place: Mapping[str, str] | None = None, **body: Any) -> dict[str, Any]:
        """Create a job, on the file at `URI` unless the body says otherwise."""
        spec = {"trainingDatasetUri": URI} | body.pop("supervisedTuningSpec", {})
        whole = {"baseModel": "gemini-1.5-flash-002", "supervisedTuningSpec": spec} | body
        return self.call(self.methods.create, {}, principal=principal, body=whole, place=place)

    def get(self, job: Mapping[str, Any], principal: Principal = ANY, **options: Any) -> dict[str, Any]:
        """The job as it is now."""
        return self.call(self.methods.get, {"tuning_job": number_in(job)}, principal=principal, **options)

    def list(self, query: Mapping[str, str] | None = None, **options: Any) -> dict[str, Any]:
        """A page of the list."""
        return self.call(self.methods.list, {}, query=query or {}, **options)

    def cancel(self, job: Mapping[str, Any], principal: Principal = ANY) -> dict[str, Any]:
        """Cancel the job."""
        return self.call(self.methods.cancel, {"tuning_job": number_in(job)}, principal=principal)

    def call(
        self,
        method: Callable[[MethodCall], Typed],
        path: Mapping[str, str],
        *,
        principal: Principal = ANY,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        place: Mapping[str, str] | None = None,
        version: str = "v1beta1",
    ) -> dict[str, Any]:
        """Call a method, and return the JSON of its answer."""
        call = MethodCall(
            principal=principal,
            path={**(PLACE if place is None else place), **path},
            query=query or {},
            body=b"" if body is None else json.dumps(body).encode(),
            version=version,
        )
        answer = method(call)
        return encode(answer.message, answer.fields)

    def prepare(self) -> None:
        """Prepare the job whose turn it is, as the loop would."""
        request = self.preparing.claim()
        assert request is not None, "no job waits to be prepared"
        self.preparer.follow(request)

    def train(self) -> None:
        """Prepare the job whose turn it is, and train it."""
        self.prepare()
        self.workshop.advance()


def number_in(job: Mapping[str, Any]) -> str:
    """The number in the job's name."""
    return str(job["name"]).rpartition("/")[2]


def tunings_over(
    workshop: Workshop,
    bucket: Path,
    *,
    quota: ProjectQuota = UNLIMITED_PROJECTS,
    monotonic: Callable[[], float] = time.monotonic,
    preparing: type[Preparing] = Preparing,
    lease_seconds: float = LEASE_SECONDS,
    catalog: Catalog = ECHO_CATALOG,
    file_patience: FilePatience = FILE_PATIENCE,
    **loop: Any,
) -> Tunings:
    """Over this workshop and a directory, which is the bucket `shared`."""
    w = workshop
    settings = BucketSettings(root=bucket.parent / "buckets", mapped=(MappedBucket(name="shared", directory=bucket),))
    catalog = replace(catalog, models=tuple(_with_vertex_names(base) for base in catalog.models))
    preparers = InProcessPreparers(w.artifacts.store)
    use_cases = preparing(
        w.database,
        w.artifacts,
        catalog,
        w.clock,
        w.metrics,
        server=SERVER,
        source_of=lambda uri, reader: BucketFile(settings=settings, uri=uri, reader=reader),
        read_row=read_row,
        lease_seconds=lease_seconds,
        file_patience=file_patience,
        monotonic=monotonic,
    )
    entropy = random.Random(2).getrandbits
    jobs = NumberedJobs(
        w.database,
        w.artifacts,
        catalog,
        w.clock,
        entropy,
        w.metrics,
        tuning=w.tuning,
        queue=JobQueue(w.database, w.artifacts, w.quotas, entropy, project_quota=quota),
        checks=checks_of(Buckets(settings)),
    )
    preparer = Preparer(use_cases, preparers, prepared=w.dispatcher.wake, poll_seconds=0.02, **loop)
    return Tunings(workshop=w, bucket=bucket, preparers=preparers, preparing=use_cases, preparer=preparer, jobs=jobs)


def _with_vertex_names(base: BaseModel) -> BaseModel:
    return replace(base, aliases=(*base.aliases, *VERTEX))
