"""The composition root: settings in, a running service out. The only place that knows every room."""

import asyncio
import fcntl
import logging
import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import uvicorn
from prometheus_client import CollectorRegistry

from tuningfork.api.app import Services, create_app
from tuningfork.catalog import build_catalog
from tuningfork.dialect.gate import Gate
from tuningfork.dialect.gemini.table import UseCases, bindings
from tuningfork.dispatcher import Dispatcher
from tuningfork.domain.base_model import Catalog
from tuningfork.domain.errors import FailedPrecondition, TuningforkError
from tuningfork.domain.loopback import is_loopback
from tuningfork.domain.permission import LOCAL_PRINCIPAL
from tuningfork.execution.local import LocalExecutor, WorkerThreads
from tuningfork.safety.configuration import RaterError, choose_rater
from tuningfork.service.access import Access
from tuningfork.service.generation import Generation
from tuningfork.service.groups import Groups
from tuningfork.service.identity import Identity
from tuningfork.service.issuer_keys import IssuerKeys
from tuningfork.service.metrics import Metrics
from tuningfork.service.openid import OpenIdTokens, TrustedIssuer
from tuningfork.service.previewing import Previewing
from tuningfork.service.quotas import Budget, Quotas
from tuningfork.service.raters import safety_of
from tuningfork.service.residency import Residency, ResidentAdapters
from tuningfork.service.running import Running
from tuningfork.service.safety import Safety
from tuningfork.service.sharing import Sharing
from tuningfork.service.tokens import AccessTokens
from tuningfork.service.tuning import Tuning
from tuningfork.settings import Settings
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database

if TYPE_CHECKING:
    # Its packages come with an extra.
    from tuningfork.grpc_server.serving import GrpcServer

logger = logging.getLogger(__name__)

UseCasesAlone = TypeVar("UseCasesAlone")

_GRACE_SECONDS = 3
"""What open calls are given when the server stops: a stream to a client must not keep it up for ever."""


class StartError(Exception):
    """The server cannot start; the message says why and what to do."""


def now() -> datetime:
    """The current time, aware and in UTC."""
    return datetime.now(UTC)


def open_database(settings: Settings) -> Database:
    """The database of these settings, migrated to the newest schema.

    Raises:
        StartError: it cannot be used, or the data directory cannot.

    """
    _make_private(settings.data_dir)
    try:
        return Database.open(settings.resolved_database_url)
    except FailedPrecondition as error:
        raise StartError(error.message) from error


def open_access(settings: Settings) -> AbstractContextManager[Access]:
    """The use cases of API keys alone, for the command line; works beside a running server.

    Raises:
        StartError: see `open_database`.

    """
    return _opened(settings, Access)


def open_groups(settings: Settings) -> AbstractContextManager[Groups]:
    """The use cases of groups alone, for the command line; works beside a running server.

    Raises:
        StartError: see `open_database`.

    """
    return _opened(settings, Groups)


@contextmanager
def _opened(
    settings: Settings, use_cases: Callable[[Database, Callable[[], datetime]], UseCasesAlone]
) -> Iterator[UseCasesAlone]:
    database = open_database(settings)
    try:
        yield use_cases(database, now)
    finally:
        database.close()


class _Uvicorn(uvicorn.Server):
    """Uvicorn that returns after a signal, and stops the gRPC server beside it meanwhile.

    Its own would raise the signal again and end this process on the spot.
    """

    def __init__(self, config: uvicorn.Config, beside: "GrpcServer | None") -> None:
        super().__init__(config)
        self._beside = beside

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let SIGINT and SIGTERM end the serving; a second one is not waited for."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more requests, and wait a while for those that are open."""
        stopping = [super().shutdown(sockets)]
        if self._beside is not None:
            stopping.append(self._beside.stop(_GRACE_SECONDS))
        await asyncio.gather(*stopping)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcAddress:
    """Where a server takes calls over gRPC: host and port, and the file of the root that callers have to trust.

    There is no such file where the operator brought the certificate.
    """

    target: str
    root_file: Path | None


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
    _dispatcher: Dispatcher
    _executor: LocalExecutor

    def run(self) -> None:
        """Serve until a signal says stop; running jobs are given back and resume at the next start."""
        config = uvicorn.Config(
            create_app(self._services),
            # Through our own handler, in one format.
            log_config=None,
            # It would write API keys down that come as `?key=`.
            access_log=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        self._dispatcher.start()
        try:
            self._loop.run(_Uvicorn(config, self._grpc).serve(sockets=[self._listener]))
        finally:
            self._dispatcher.close()
            self._executor.close()

    def close(self) -> None:
        """Let go of the gRPC port, if nothing did before."""
        if self._grpc is not None:
            self._loop.run(self._grpc.stop())


@contextmanager
def compose(settings: Settings) -> Iterator[Server]:
    """Build the service of these settings; what it holds is released at the end.

    Raises:
        StartError: a port or the data directory is taken, what is in the directory cannot be used, or the rater.
        CatalogError: a base model cannot be described.

    """
    _check_open_door(settings)
    catalog = build_catalog(catalog_file=settings.catalog, named=settings.base_model)
    _make_private(settings.data_dir)
    with _only_server_of(settings.data_dir), _listen(settings.host, settings.port) as listener:
        database = open_database(settings)
        try:
            with asyncio.Runner() as loop, closing(_build(settings, catalog, database, listener, loop)) as server:
                yield server
        finally:
            database.close()


def _build(
    settings: Settings, catalog: Catalog, database: Database, listener: socket.socket, loop: asyncio.Runner
) -> Server:
    artifacts = Artifacts(settings.data_dir)
    metrics = Metrics(CollectorRegistry(), database)
    access = Access(database, now)
    quotas = Quotas(
        Budget(
            requests_per_minute=settings.requests_per_minute,
            tokens_per_minute=settings.tokens_per_minute,
            concurrent_jobs=settings.concurrent_tuning_jobs_per_key,
        )
    )
    executor = LocalExecutor(
        threads=WorkerThreads(
            trainer=settings.trainer_threads, generator=settings.generator_threads, rater=settings.generator_threads
        ),
        log_level=settings.log_level,
        room=settings.adapter_room,
        gpu_shortcuts=settings.gpu_shortcuts,
    )
    residency = Residency(database, artifacts, catalog, executor, settings.pinned_ids)
    ResidentAdapters(executor, metrics.registry)
    safety = _safety(settings, executor, metrics, loop)
    running = Running(database, artifacts, catalog, now, metrics, checkpoint_every=settings.checkpoint_every)
    dispatcher = Dispatcher(running, executor, metrics, concurrency=settings.concurrent_jobs, also=residency.refresh)
    tuning = Tuning(database, artifacts, catalog, now, secrets.randbits, metrics, wake=dispatcher.wake, quotas=quotas)
    services = Services(
        gate=Gate(
            identity=Identity(access=access, tokens=AccessTokens(database, now), outside=_outside(settings)),
            quotas=quotas,
            require_credential=not settings.no_auth,
        ),
        use_cases=UseCases(
            tuning=tuning,
            sharing=Sharing(database, secrets.randbits),
            generation=Generation(database, artifacts, catalog, executor, metrics, quotas, safety=safety),
        ),
        previewing=Previewing(tuning, executor, metrics),
        residency=residency,
        metrics=metrics,
        healthy=dispatcher.healthy,
        origins=tuple(settings.cors_origins),
    )
    grpc = _start_grpc(settings, services, loop)
    return Server(
        settings=settings,
        url=f"http://{_at(*listener.getsockname()[:2])}",
        grpc=_address(settings.host, grpc) if grpc is not None else None,
        _grpc=grpc,
        new_key=_first_key(settings, access),
        _loop=loop,
        _listener=listener,
        _services=services,
        _dispatcher=dispatcher,
        _executor=executor,
    )


def _at(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _address(host: str, grpc: "GrpcServer") -> GrpcAddress:
    # A certificate is good for names of this machine, not for all of its addresses together.
    known = "localhost" if host in ("0.0.0.0", "::", "") else host  # noqa: S104 - compared, not listened on
    return GrpcAddress(target=_at(known, grpc.port), root_file=grpc.root_file)


def _start_grpc(settings: Settings, services: Services, loop: asyncio.Runner) -> "GrpcServer | None":
    """The server of the same methods over gRPC, if one is wanted."""
    if settings.grpc_port is None:
        return None
    try:
        from tuningfork.grpc_server import certificates, serving  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise StartError(
            f"gRPC needs the package {error.name}, which is not installed; get it with "
            "pip install 'tuningfork[grpc]', or leave out --grpc-port"
        ) from error
    try:
        if settings.grpc_certificate and settings.grpc_private_key:
            shown = certificates.operators_certificate(settings.grpc_certificate, settings.grpc_private_key)
        else:
            hosts = certificates.usual_hosts(settings.host)
            shown = certificates.own_certificate(settings.data_dir / "tls", hosts, now())
        registry = services.metrics.registry
        starting = serving.GrpcServer.start(
            bindings(services.use_cases), services.gate, registry, shown, host=settings.host, port=settings.grpc_port
        )
        return loop.run(starting)
    except (certificates.CertificateError, serving.CannotListen) as error:
        raise StartError(str(error)) from error


def _safety(settings: Settings, executor: LocalExecutor, metrics: Metrics, loop: asyncio.Runner) -> Safety:
    try:
        return loop.run(safety_of(choose_rater(settings.safety), executor, metrics))
    except (RaterError, TuningforkError) as error:
        executor.close()
        raise StartError(str(error)) from error


def _check_open_door(settings: Settings) -> None:
    """A server that asks for nothing is for the machine that it runs on, and for no web page that asks to come in."""
    if not settings.no_auth:
        return
    if not is_loopback(settings.host):
        raise StartError(
            f"--no-auth lets in everybody who reaches the server, so it must listen on this machine alone, and "
            f"{settings.host!r} is no loopback address; leave out --host, or leave out --no-auth and make keys with "
            "`tuningfork keys create`"
        )
    if "*" in settings.cors_origins:
        raise StartError(
            "--no-auth together with the setting cors_origins * would let in every web page that anybody on this "
            "machine looks at; name the origins that may call, or leave out --no-auth"
        )


def _outside(settings: Settings) -> OpenIdTokens | None:
    """The issuer outside whose tokens are taken, if there is one."""
    if settings.oidc_issuer is None or settings.oidc_audience is None:
        return None
    trusted = TrustedIssuer(
        url=settings.oidc_issuer,
        audience=settings.oidc_audience,
        email_claim=settings.oidc_email_claim,
        scope_claim=settings.oidc_scope_claim,
        default_scopes=frozenset(settings.oidc_default_scopes),
    )
    return OpenIdTokens(trusted, IssuerKeys(settings.oidc_issuer), now)


def _first_key(settings: Settings, access: Access) -> str | None:
    """On the first start, a key for whoever started the server: returned, and left in a file only they can read."""
    if settings.no_auth or access.has_keys():
        return None
    created = access.create_key("first key", LOCAL_PRINCIPAL.email, LOCAL_PRINCIPAL.project)
    settings.key_file.unlink(missing_ok=True)
    settings.key_file.touch(mode=0o600)
    settings.key_file.write_text(created.key + "\n", encoding="utf-8")
    return created.key


def _make_private(data_directory: Path) -> None:
    """Create the directory, for its user only: it holds training data. One that exists stays as its owner set it."""
    try:
        data_directory.parent.mkdir(parents=True, exist_ok=True)
        data_directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StartError(
            f"{data_directory} cannot be the data directory: {error.strerror}; choose another with --data-dir"
        ) from error


@contextmanager
def _only_server_of(data_directory: Path) -> Iterator[None]:
    """Hold the data directory: two servers on it would resume each other's running jobs."""
    try:
        lock = (data_directory / "server.lock").open("w")
    except OSError as error:
        raise StartError(f"{data_directory} cannot be written: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StartError(
                f"another server already uses {data_directory}; stop it, or give this one its own --data-dir"
            ) from error
        yield


@contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise StartError(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another with --host or --port (0: any free one)"
        ) from error
    with listener:
        # Accepted connections inherit it. Without it the second piece of every answer waits 40 ms for the client's
        # acknowledgement of the first; asyncio sets it only where a socket names its protocol, which this one does not.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener
