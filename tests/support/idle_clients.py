"""Clients that hold a server's connections: silent, halfway through a request, or not reading its answers."""

import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from patience import PATIENCE_SECONDS
from store_rows import NOW, grant, keep, new_job
from tuningfork.domain.errors import Code
from tuningfork.domain.permission import LOCAL_PRINCIPAL, Role
from tuningfork.domain.tuning_job import JobError, JobState, Snapshot
from tuningfork.store import access, tuning_jobs
from tuningfork.store.database import Database
from tuningfork.store.snapshots import append_snapshot

LARGE_MODEL = "large"
Open = Callable[[str, int, str], socket.socket]

_GET = "GET {path} HTTP/1.1\r\nhost: localhost\r\nx-goog-api-key: {key}\r\n\r\n"
_HALF_A_BODY = (
    "POST /v1beta/models/tuningfork-mini-001:generateContent HTTP/1.1\r\nhost: localhost\r\n"
    'x-goog-api-key: {key}\r\ncontent-length: 1000\r\n\r\n{{"contents": '
)


def keep_large_model(data_directory: Path) -> None:
    """Put a model whose answer has some 300 KB into the database of a server that does not run."""
    database = Database.open(f"sqlite:///{data_directory / 'tuningfork.db'}")
    job = keep(database, replace(new_job(LARGE_MODEL), example_count=2_000))
    with database.write() as connection:
        access.grant(connection, grant(LARGE_MODEL, LOCAL_PRINCIPAL.email, Role.READER))
        tuning_jobs.move(connection, job.id, JobState.RUNNING, NOW)
        for step in range(1, 2_001):
            append_snapshot(connection, job.id, Snapshot(step=step, epoch=0, mean_loss=1 / step, compute_time=NOW))
        tuning_jobs.move(
            connection, job.id, JobState.FAILED, NOW, error=JobError(code=Code.INTERNAL, message="made up")
        )
    database.close()


def _connected(host: str, port: int, sent: bytes = b"", *, small_buffers: bool = False) -> socket.socket:
    client = socket.socket()
    try:
        client.settimeout(PATIENCE_SECONDS)
        if small_buffers:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((host, port))
        client.sendall(sent)
    except OSError:
        client.close()
        raise
    return client


def silent(host: str, port: int, _key: str) -> socket.socket:
    """Connected, and nothing more."""
    return _connected(host, port)


def half_a_head(host: str, port: int, _key: str) -> socket.socket:
    """In the middle of a request's headers."""
    return _connected(host, port, b"GET /v1beta/models HTTP/1.1\r\nhost: local")


def half_a_body(host: str, port: int, key: str) -> socket.socket:
    """In the middle of a request's body."""
    return _connected(host, port, _HALF_A_BODY.format(key=key).encode())


def slow_reader(host: str, port: int, key: str) -> socket.socket:
    """Asked for an answer that is larger than what the two systems hold for it, and does not read it."""
    request = _GET.format(path=f"/v1beta/tunedModels/{LARGE_MODEL}", key=key).encode()
    return _connected(host, port, request, small_buffers=True)


def keep_alive(host: str, port: int, key: str) -> socket.socket:
    """Was answered once, and keeps its connection."""
    client = _connected(host, port, _GET.format(path="/v1beta/models", key=key).encode())
    with suppress(OSError):
        client.recv(65536)
    return client


KINDS: dict[str, Open] = {
    each.__name__.replace("_", " "): each for each in (silent, half_a_head, half_a_body, slow_reader, keep_alive)
}


@contextmanager
def held(open_one: Open, count: int, host: str, port: int, key: str) -> Iterator[list[socket.socket]]:
    """So many connections of a kind, for as long as the context lasts. Those that the server refuses are left out."""
    clients: list[socket.socket] = []
    try:
        for _ in range(count):
            with suppress(OSError):
                clients.append(open_one(host, port, key))
        yield clients
    finally:
        for client in clients:
            with closing(client):
                pass


def allow_files(count: int) -> None:
    """Let this process open so many files, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(hard, count)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
