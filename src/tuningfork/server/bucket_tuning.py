"""Puts together what tunes on examples in buckets: the use cases of numbered jobs, and the loop that reads examples."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TypeAlias

from tuningfork.buckets.buckets import Buckets
from tuningfork.buckets.files import BucketFile
from tuningfork.buckets.timely import TimelyLooks
from tuningfork.domain.base_model import Catalog, PublicModel
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.permission import Principal
from tuningfork.domain.training_rows import RowFault
from tuningfork.execution.local import environment
from tuningfork.execution.local.preparers import LocalPreparers
from tuningfork.preparer import Preparer
from tuningfork.service.metrics import Metrics
from tuningfork.service.quotas import Quotas
from tuningfork.service.tuning.job_queue import JobQueue
from tuningfork.service.tuning.numbered_jobs import BucketChecks, NumberedJobs
from tuningfork.service.tuning.preparing import Preparing
from tuningfork.service.tuning.project_quota import ProjectQuota
from tuningfork.service.tuning.tuning import Tuning
from tuningfork.settings import Settings
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database
from tuningfork.store.leases import ServerId
from tuningfork.wire.vertex.rows import read_row

_LOOKED_AT = 10
"""How many rows of a file are read before its job is accepted."""


Parts: TypeAlias = tuple[Database, Artifacts, Catalog, Callable[[], datetime], Callable[[int], int], Metrics]
"""What the use cases of tuning share: database, artifacts, base models, clock, random bits, metrics."""


@dataclass(frozen=True, slots=True)
class BucketTuningParts:
    """The use cases of numbered jobs, and the loop that prepares them."""

    jobs: NumberedJobs
    preparer: Preparer


def bucket_tuning(
    settings: Settings,
    parts: Parts,
    tuning: Tuning,
    quotas: Quotas,
    *,
    server: ServerId,
    queued: Callable[[], None],
    check_base: Callable[[PublicModel], None],
) -> BucketTuningParts:
    """What tunes on examples in buckets, for these settings.

    Args:
        settings: the settings.
        parts: what the use cases of tuning share; its database is that of requests.
        tuning: the use cases of tuned models.
        quotas: the limits for each caller.
        server: the id of this server.
        queued: called when a job has been queued.
        check_base: raises for a base that cannot be used.

    """
    database, artifacts, catalog, clock, entropy, metrics = parts
    buckets = Buckets(settings.bucket_settings)
    quota = project_quota(settings)
    preparing = Preparing(
        database,
        artifacts,
        catalog,
        clock,
        metrics,
        server=server,
        source_of=lambda uri, reader: BucketFile(settings=settings.bucket_settings, uri=uri, reader=reader),
        read_row=read_row,
    )
    worker = environment.of_worker(1, settings.log_level, log_format=settings.log_format)
    preparers = LocalPreparers(worker | environment.of_artifacts(settings.data_dir))
    preparer = Preparer(preparing, preparers, prepared=queued)
    jobs = NumberedJobs(
        *parts,
        tuning=tuning,
        queue=JobQueue(database, artifacts, quotas, entropy, project_quota=quota),
        checks=checks_of(buckets),
        wake=preparer.wake,
        check_base=check_base,
    )
    return BucketTuningParts(jobs, preparer)


def project_quota(settings: Settings) -> ProjectQuota:
    """How many jobs a project may have at a time."""
    return ProjectQuota(
        most=settings.concurrent_tuning_jobs_per_project, rejects=settings.over_project_quota == "reject"
    )


def checks_of(buckets: Buckets) -> BucketChecks:
    """What is checked of an object in these buckets before a job is accepted, each within `LOOK_SECONDS`."""
    looks = TimelyLooks()

    def may_read(principal: Principal, uri: str) -> None:
        looks.at(uri, lambda: buckets.check_for(principal, uri))

    def look(principal: Principal, uri: str) -> None:
        looks.at(uri, lambda: _look(buckets, principal, uri))

    return BucketChecks(may_read=may_read, look=look)


def _look(buckets: Buckets, principal: Principal, uri: str) -> None:
    # Closed when the iterator is collected, right after the last row that is looked at.
    rows = (line for line in buckets.lines(principal, uri) if line.strip())
    for number, line in enumerate(islice(rows, _LOOKED_AT)):
        try:
            read_row(line)
        except InvalidArgument as error:
            raise RowFault(number, error.message) from error
