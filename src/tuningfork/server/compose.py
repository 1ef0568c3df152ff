"""Builds a server, bound to its ports, from settings."""

import asyncio
import gc
import logging
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from tuningfork.api.app import Services, create_app
from tuningfork.api.google.form import GoogleForm
from tuningfork.api.google.lost_clients import refuse_lost_client
from tuningfork.api.mounts import Mounts
from tuningfork.api.oauth.routes import OAuthRoutes
from tuningfork.api.overload import Refusing, unreadable_answer
from tuningfork.api.stopping import Stopping
from tuningfork.api.storage.form import STORAGE_FORM
from tuningfork.catalog import build_catalog, without_fetched
from tuningfork.dialect.form import Dialect
from tuningfork.dialect.gate import Gate
from tuningfork.dialect.gemini.table import UseCases, gemini
from tuningfork.dialect.own.table import OwnUseCases, own
from tuningfork.dialect.storage.answers import StorageAnswer
from tuningfork.dialect.storage.methods import StorageMethod
from tuningfork.dialect.storage.table import storage
from tuningfork.dispatcher import Dispatcher
from tuningfork.domain.base_model import Catalog
from tuningfork.domain.errors import TuningforkError
from tuningfork.execution.local.engines import LocalEngines, WorkerThreads
from tuningfork.preparer import Preparer
from tuningfork.pulling.kept import kept_bases
from tuningfork.safety.configuration import RaterError, choose_rater
from tuningfork.server.belonging import artifacts_of, disk_reserve, finish_restore
from tuningfork.server.beside import Loop, beside
from tuningfork.server.bucket_tuning import project_quota
from tuningfork.server.connections import ConnectionLimits, OpenConnections, affordable_connections
from tuningfork.server.credentials import first_key, identity_of
from tuningfork.server.data_directory import StartError, make_private, now, only_server_of, open_database
from tuningfork.server.evaluating import evaluating_of
from tuningfork.server.open_doors import check_open_doors
from tuningfork.server.own import OwnThreads, own_of
from tuningfork.server.ports import GrpcAddress, HttpServer, grpc_address, host_and_port, listen, start_grpc
from tuningfork.server.probing import probing_of
from tuningfork.server.process_metrics import ProcessMetrics
from tuningfork.server.vertex import vertex_of
from tuningfork.service.answering.generation import Generation
from tuningfork.service.answering.raters import safety_of
from tuningfork.service.answering.residency import Residency, ResidentAdapters
from tuningfork.service.answering.safety import Safety
from tuningfork.service.base_models import check_usable, resolve_names
from tuningfork.service.datasets.shelf import Shelf
from tuningfork.service.identity.identity import Identity
from tuningfork.service.identity.keys import Access
from tuningfork.service.metrics import Metrics
from tuningfork.service.operating.throughput import Throughput
from tuningfork.service.quotas import Budget, Quotas
from tuningfork.service.readiness import Readiness
from tuningfork.service.sharing.sharing import Sharing
from tuningfork.service.storage.storing import Storing
from tuningfork.service.tuning.running import Running
from tuningfork.service.tuning.tuning import Tuning
from tuningfork.settings import Settings
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database
from tuningfork.store.server_id import server_id
from tuningfork.store.staged_rows import StagedFiles
from tuningfork.wire.gemini.errors import GEMINI_ERRORS

if TYPE_CHECKING:
    # The packages that this module needs come with an extra.
    from tuningfork.grpc_server.serving import GrpcServer

logger = logging.getLogger(__name__)

_IMPORT_THREADS = 2
_UPLOAD_THREADS = 4
_DATASET_THREADS = 2
_FORM = GoogleForm(GEMINI_ERRORS)
"""The form of Gemini's dialect and ours, and of requests for paths that belong to no dialect."""


SWITCH_SECONDS = 0.0005
"""How long a thread, such as one that renders a long list, may hold Python's global interpreter lock while the event
loop waits for it."""


@dataclass(frozen=True, slots=True)
class Server:
    """A composed service, bound to its ports but not yet serving."""

    settings: Settings
    url: str
    new_key: str | None
    grpc: GrpcAddress | None
    _grpc: "GrpcServer | None"
    _loop: asyncio.Runner
    _listener: socket.socket
    _services: Services
    _connections: OpenConnections
    _dispatcher: Dispatcher
    _preparer: Preparer
    _loops: tuple[Loop, ...]
    _engines: LocalEngines

    def run(self, mounted: Mapping[str, ASGIApp] = MappingProxyType({})) -> None:
        """Serve until a signal says stop; running jobs are given back and resume at the next start.

        Below each path of `mounted` another application answers. Python's settings for threads and garbage collections
        are the server's meanwhile.
        """
        with _server_settings_of_python():
            self._serve(mounted)

    def _serve(self, mounted: Mapping[str, ASGIApp]) -> None:
        services = self._services
        http = HttpServer(create_app(services, mounted), self._connections, services.stopping, self._grpc)
        _leave_out_of_collections()
        self._dispatcher.start()
        self._preparer.start()
        try:
            self._loop.run(beside(self._loops, http.serve(sockets=[self._listener])))
        finally:
            # Generators and raters end beside the jobs, which take as long as their steps.
            ending = [threading.Thread(target=role.close) for role in (self._engines.generators, self._engines.raters)]
            for thread in ending:
                thread.start()
            self._preparer.close()
            self._dispatcher.close()
            self._engines.close()

    def close(self) -> None:
        """Close the gRPC port, if it is still open."""
        if self._grpc is not None:
            self._loop.run(self._grpc.stop())


@contextmanager
def _server_settings_of_python() -> Iterator[None]:
    """Threads take turns as the server needs it; afterwards this, and garbage collections, are as before."""
    switch_seconds, collects, frozen = sys.getswitchinterval(), gc.isenabled(), gc.get_freeze_count()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(switch_seconds)
        # What somebody else has frozen before stays so.
        if not frozen:
            gc.unfreeze()
        if not collects:
            gc.disable()


def _leave_out_of_collections() -> None:
    """What the server consists of is never garbage: a full collection would look at all of it while requests wait.

    A process in which collections were on may have garbage of its own, which is collected before.
    """
    if gc.isenabled():
        gc.collect()
    gc.freeze()
    gc.enable()


@contextmanager
def compose(settings: Settings) -> Iterator[Server]:
    """Build the service of these settings; what it holds is released at the end.

    Raises:
        StartError: a port or the data directory is taken, what is in the directory cannot be used, or the rater; or the
            directory holds weights that the database does not know.
        CatalogError: a base model cannot be described.

    """
    check_open_doors(settings)
    kept = kept_bases(settings.data_dir)
    catalog = build_catalog(catalog_file=settings.catalog, named=settings.base_model, kept=kept)
    make_private(settings.data_dir)
    with only_server_of(settings.data_dir), listen(settings.host, settings.port) as listener:
        finish_restore(settings)
        database = open_database(settings)
        try:
            # Versions that did not record what a name means did not fetch base models either.
            resolve_names(database, without_fetched(catalog, kept))
            # Ended after the loop, in which an import that is cancelled still removes its files.
            with (
                ThreadPoolExecutor(_IMPORT_THREADS, thread_name_prefix="import") as imports,
                ThreadPoolExecutor(_UPLOAD_THREADS, thread_name_prefix="upload") as uploads,
                ThreadPoolExecutor(_DATASET_THREADS, thread_name_prefix="dataset") as looking,
                asyncio.Runner() as loop,
                closing(
                    _build(settings, catalog, database, listener, loop, OwnThreads(imports, uploads, looking))
                ) as server,
            ):
                yield server
        finally:
            database.close()


def _build(
    settings: Settings,
    catalog: Catalog,
    database: Database,
    listener: socket.socket,
    loop: asyncio.Runner,
    threads: OwnThreads,
) -> Server:
    artifacts = artifacts_of(settings, database)
    access = Access(requests := database.for_requests(), now)
    quotas, engines = _quotas(settings), _engines(settings)
    metrics = _metrics(database, engines)
    residency = Residency(database, artifacts, catalog, engines.generators, settings.pinned_ids)
    server, every = server_id(settings.data_dir, secrets.randbits), settings.savepoint_every
    common, quota = (database, artifacts, catalog, now, metrics), project_quota(settings)
    running = Running(*common, server=server, savepoint_every=every, project_quota=quota)
    reserve = disk_reserve(settings)
    shelf = Shelf(requests, StagedFiles(artifacts.store), now, secrets.randbits)
    throughput = Throughput(now, metrics.work)
    each_round = partial(_call_all, residency.refresh, reserve.refill, shelf.sweep_hourly, throughput.sample)
    dispatcher = _dispatcher(settings, running, engines, metrics, each_round)
    parts = (requests, artifacts, catalog, now, secrets.randbits, metrics)
    usable = partial(check_usable, generators=engines.generators)
    tuning = Tuning(*parts, wake=dispatcher.wake, quotas=quotas, reserve=reserve, check_base=usable)
    calling = (requests, artifacts, catalog, engines.generators, metrics, quotas)
    safety, shared = _safety(settings, engines, metrics, loop), settings.share_prefixes
    generation = Generation(*calling, safety=safety, share_prefixes=shared)
    identity, sharing = identity_of(settings, requests, access), Sharing(requests, secrets.randbits)
    made = partial(vertex_of, server=server, queued=dispatcher.wake, check_base=usable)
    of_vertex, preparer = made(settings, parts, tuning, generation, quotas)
    parts_of_own = (parts, tuning, running, engines, residency, generation, identity)
    evaluations, evaluator = evaluating_of(database, artifacts, catalog, shelf, access, generation, quotas, server)
    probing, prober = probing_of(database, artifacts, generation, quotas)
    of_own = partial(own_of, shelf=shelf, server=server, threads=threads, check_base=usable, quotas=quotas)
    ours = of_own(settings, *parts_of_own, evaluations, probing, waits_for=preparer.waits_for, throughput=throughput)
    gemini_dialect = gemini(UseCases(tuning=tuning, sharing=sharing, generation=generation), _FORM)
    dialects: tuple[Dialect[Any], ...] = (gemini_dialect, own(ours, _FORM), of_vertex, *_buckets(settings))
    ready, gate = _readiness(database, artifacts, dispatcher, engines), _gate(settings, identity, quotas)
    services = _services(settings, gate, dialects, metrics, dispatcher, ready, ours)
    most, most_over_grpc = _most_connections(settings)
    grpc = start_grpc(settings, services, gemini_dialect, loop, most_over_grpc)
    return Server(
        settings=settings,
        url=f"http://{host_and_port(*listener.getsockname()[:2])}",
        grpc=grpc_address(settings.host, grpc) if grpc is not None else None,
        _grpc=grpc,
        new_key=first_key(settings, access),
        _loop=loop,
        _listener=listener,
        _services=services,
        _connections=_connections(settings, services, most - most_over_grpc),
        _dispatcher=dispatcher,
        _preparer=preparer,
        _loops=(evaluator.run, prober.run),
        _engines=engines,
    )


def _most_connections(settings: Settings) -> tuple[int, int]:
    """The most connections of all, and of these over gRPC."""
    most = affordable_connections(settings.max_connections)
    return most, 0 if settings.grpc_port is None else max(1, most // 4)


def _buckets(settings: Settings) -> tuple[Dialect[StorageAnswer], ...]:
    return storage(Storing(settings.bucket_settings, now), STORAGE_FORM)


def _gate(settings: Settings, identity: Identity, quotas: Quotas) -> Gate:
    return Gate(
        identity=identity,
        quotas=quotas,
        require_credential=not settings.no_auth,
        open_methods=frozenset(StorageMethod) if settings.storage_without_credentials else frozenset(),
    )


def _engines(settings: Settings) -> LocalEngines:
    return LocalEngines.build(
        artifacts=settings.data_dir,
        threads=WorkerThreads(trainer=settings.trainer_threads, generator=settings.generator_threads),
        log_level=settings.log_level,
        log_format=settings.log_format,
        adapter_limits=settings.adapter_limits,
        gpu_shortcuts=settings.gpu_shortcuts,
        weights=settings.weights,
        silence_seconds=settings.worker_silence_seconds,
        rendering_seconds=settings.rendering_seconds,
    )


def _metrics(database: Database, engines: LocalEngines) -> Metrics:
    metrics = Metrics(CollectorRegistry(), database)
    ResidentAdapters(engines.generators, metrics.registry)
    ProcessMetrics(lambda: engines.worker_pids, metrics.registry)
    return metrics


def _dispatcher(
    settings: Settings, running: Running, engines: LocalEngines, metrics: Metrics, each_round: Callable[[], None]
) -> Dispatcher:
    roles = (engines.trainers, engines.generators)
    return Dispatcher(running, *roles, metrics, concurrency=settings.concurrent_jobs, after_each_round=each_round)


def _call_all(*calls: Callable[[], object]) -> None:
    for call in calls:
        call()


def _services(
    settings: Settings,
    gate: Gate,
    dialects: tuple[Dialect[Any], ...],
    metrics: Metrics,
    dispatcher: Dispatcher,
    checks: Mapping[str, Callable[[], str | None]],
    ours: OwnUseCases,
) -> Services:
    stopping = Stopping()
    ready = Readiness({**checks, "stopping": lambda: "the server is stopping" if stopping.announced else None})
    return Services(
        gate=gate,
        dialects=dialects,
        default_form=_FORM,
        registry=metrics.registry,
        healthy=dispatcher.healthy,
        origins=tuple(settings.cors_origins),
        body_seconds=settings.request_body_seconds,
        open_metrics=settings.open_metrics,
        metrics_token=settings.metrics_token,
        ready=ready.results,
        stopping=stopping,
        errors=ours.engines.errors,
        routes=OAuthRoutes(
            refresh_tokens=ours.refresh_tokens, assertions=gate.identity.assertions, quotas=gate.quotas
        ).routes(),
        check_client=refuse_lost_client,
    )


def _readiness(
    database: Database, artifacts: Artifacts, dispatcher: Dispatcher, engines: LocalEngines
) -> Mapping[str, Callable[[], str | None]]:
    return {
        "database": database.refusal,
        "artifacts": artifacts.refusal,
        "jobs": dispatcher.healthy,
        "trainer": engines.trainers.refusal,
        "generator": engines.generators.refusal,
    }


def _quotas(settings: Settings) -> Quotas:
    return Quotas(
        Budget(
            requests_per_minute=settings.requests_per_minute,
            tokens_per_minute=settings.tokens_per_minute,
            concurrent_jobs=settings.concurrent_tuning_jobs_per_key,
        )
    )


def _connections(settings: Settings, services: Services, most: int) -> OpenConnections:
    mounts = Mounts(services.dialects, default_form=services.default_form)
    limits = ConnectionLimits(
        most=most,
        head_seconds=settings.request_head_seconds,
        answer_seconds=settings.answer_seconds,
        idle_seconds=settings.keep_alive_seconds,
    )
    return OpenConnections(
        limits, Refusing(mounts), partial(unreadable_answer, mounts), services.registry, time.monotonic
    )


def _safety(settings: Settings, engines: LocalEngines, metrics: Metrics, loop: asyncio.Runner) -> Safety:
    try:
        return loop.run(safety_of(choose_rater(settings.safety), engines.raters, metrics))
    except (RaterError, TuningforkError) as error:
        engines.close()
        raise StartError(str(error)) from error
