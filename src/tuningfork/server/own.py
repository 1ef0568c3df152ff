"""Puts the use cases of the server's own API together."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

from tuningfork.dialect.own.table import OwnUseCases
from tuningfork.domain.base_model import Catalog, PublicModel
from tuningfork.domain.tuning_job import JobId, TuningJob
from tuningfork.execution.local import environment
from tuningfork.execution.local.engines import LocalEngines
from tuningfork.execution.local.file_readers import LocalFileReaders
from tuningfork.server.bucket_tuning import Parts
from tuningfork.server.credentials import refresh_tokens_of
from tuningfork.server.disk_use import DiskUses
from tuningfork.server.process_metrics import memory_by_role
from tuningfork.service.answering.engines import Engines
from tuningfork.service.answering.generation import Generation
from tuningfork.service.answering.residency import Residency
from tuningfork.service.base_models import why_base_is_lacking
from tuningfork.service.datasets.datasets import Datasets
from tuningfork.service.datasets.shelf import Shelf
from tuningfork.service.evaluating.evaluations import Evaluations
from tuningfork.service.identity.identity import Identity
from tuningfork.service.identity.service_accounts import ServiceAccounts
from tuningfork.service.metrics import Metrics
from tuningfork.service.operating.credentials import Keys
from tuningfork.service.operating.throughput import Throughput
from tuningfork.service.operating.unfinished import Unfinished
from tuningfork.service.quotas import Quotas
from tuningfork.service.recent_errors import RecentErrors
from tuningfork.service.tuning.detailing import Detailing
from tuningfork.service.tuning.diagnosing import Diagnosing
from tuningfork.service.tuning.exporting import Exporting
from tuningfork.service.tuning.importing import Importing
from tuningfork.service.tuning.library import Library
from tuningfork.service.tuning.previewing import Previewing
from tuningfork.service.tuning.probing import Probing
from tuningfork.service.tuning.queue_places import QueuePlaces
from tuningfork.service.tuning.results import Results
from tuningfork.service.tuning.running import Running
from tuningfork.service.tuning.staging import Staging
from tuningfork.service.tuning.tuning import Tuning
from tuningfork.settings import Settings
from tuningfork.store.database import Database
from tuningfork.store.database_size import size_of
from tuningfork.store.leases import ServerId


@dataclass(frozen=True, slots=True)
class OwnThreads:
    """Thread pools for work that may take minutes, so that it holds no thread of other requests."""

    imports: Executor
    uploads: Executor
    datasets: Executor


def own_of(
    settings: Settings,
    parts: Parts,
    tuning: Tuning,
    running: Running,
    engines: LocalEngines,
    residency: Residency,
    generation: Generation,
    identity: Identity,
    evaluations: Evaluations,
    probing: Probing,
    *,
    shelf: Shelf,
    server: ServerId,
    threads: OwnThreads,
    check_base: Callable[[PublicModel], None],
    waits_for: Callable[[JobId], str],
    throughput: Throughput,
    quotas: Quotas,
) -> OwnUseCases:
    """The use cases for these settings; `waits_for` is `Preparing.waits_for`."""
    database, _, catalog, clock, _, metrics = parts
    trainers, generators, price = engines.trainers, engines.generators, settings.training_price
    readable = (tuning.get, tuning.list)
    lacks = partial(_lacks_base_of, catalog)
    staging = Staging(trainers, running.speeds, *readable, price=price, waits_for=waits_for, lacks_base_of=lacks)
    places = QueuePlaces(database, running.turns, running.speeds, places=settings.concurrent_jobs)
    previewing = Previewing(tuning, generators, trainers, metrics, running.speeds, price=price)
    made_by = (tuning, previewing, threads.datasets, places)
    datasets = Datasets.of(shelf, catalog, _readers(shelf, settings), generators, *made_by)
    operators, disk = identity.sessions.operators, _disk_of(settings, database, metrics)
    return OwnUseCases(
        exporting=Exporting(tuning, catalog),
        importing=Importing(*parts, generators=generators, server=server, check_base=check_base),
        import_threads=threads.imports,
        previewing=previewing,
        datasets=datasets,
        upload_threads=threads.uploads,
        evaluations=evaluations,
        probing=probing,
        residency=residency,
        generation=generation,
        diagnosing=Diagnosing(database, tuning.list),
        staging=staging,
        results=Results(database, clock),
        library=Library(database, clock, staging.all_staged, places),
        engines=Engines(
            *(database, generators, residency, running.speeds, metrics, RecentErrors(clock), throughput),
            memory=lambda: memory_by_role(engines.worker_pids),
            disk=disk.now,
            operators=operators,
        ),
        unfinished=Unfinished(database, clock, staging.all_staged, places, operators=operators, cancel=tuning.cancel),
        keys=Keys(identity.access, operators, quotas),
        detailing=Detailing(database, catalog, clock, staging.staged, places),
        tokens=identity.tokens,
        refresh_tokens=refresh_tokens_of(database, identity),
        service_accounts=ServiceAccounts(database=database, clock=clock),
        sessions=identity.sessions,
    )


def _disk_of(settings: Settings, database: Database, metrics: Metrics) -> DiskUses:
    return DiskUses(settings.data_dir, partial(size_of, database, settings.resolved_database_url), metrics.registry)


def _readers(shelf: Shelf, settings: Settings) -> LocalFileReaders:
    """What reads uploaded files, once those of interrupted uploads are gone."""
    shelf.tidy()
    return LocalFileReaders(environment.of_worker(1, settings.log_level, log_format=settings.log_format))


def _lacks_base_of(catalog: Catalog, job: TuningJob) -> str:
    return why_base_is_lacking(catalog, job.base_model, job.resolved_base)
