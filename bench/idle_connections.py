"""Normal requests beside thousands of connections that are held and not used, of one kind after the other.

    python bench/idle_connections.py [--connections 5000] [--seconds 10] [--kinds silent ...]

Prints a table: how long requests took, how many connections were open, and what the server used.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import httpx
import psutil

from bench_server import BenchServer, running

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from idle_clients import KINDS, allow_files, held, keep_large_model
from tuningfork.server.data_directory import make_private

_COLUMNS = ("connections", "open", "requests", "failed", "median ms", "most ms", "RSS MB", "files")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--connections", type=int, default=5_000)
    options.add_argument("--seconds", type=float, default=10.0)
    options.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    chosen = options.parse_args()
    allow_files(chosen.connections + 200)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        make_private(data)
        keep_large_model(data)
        print(f"{'':24}" + "".join(f"{column:>12}" for column in _COLUMNS))
        with running(data=data) as server:
            print(row_of("none", server, 0, open_connections(server), measured(server, chosen.seconds)))
            for kind in chosen.kinds:
                print(beside(server, kind, chosen), flush=True)


def beside(server: BenchServer, kind: str, chosen: argparse.Namespace) -> str:
    """The row of a kind, made while the connections are held."""
    where = urlsplit(server.url)
    with held(KINDS[kind], chosen.connections, where.hostname, where.port, server.key):
        # Whatever was asked for by those who do not read it is made first.
        with server.client() as client:
            client.get("/v1beta/models")
        opened = open_connections(server)
        return row_of(kind, server, chosen.connections, opened, measured(server, chosen.seconds))


def measured(server: BenchServer, seconds: float) -> list[float | None]:
    """Seconds of one request after the other, each on a connection of its own; None for one that failed."""
    taken: list[float | None] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        try:
            answer = httpx.get(f"{server.url}/v1beta/models", headers={"x-goog-api-key": server.key}, timeout=30)
            taken.append(time.monotonic() - began if answer.status_code == 200 else None)
        except httpx.TransportError:
            taken.append(None)
        time.sleep(0.02)
    return taken


def row_of(name: str, server: BenchServer, connections: int, opened: int, taken: list[float | None]) -> str:
    answered = [1000 * each for each in taken if each is not None]
    process = psutil.Process(server.pid)
    figures = (
        connections,
        opened,
        len(taken),
        len(taken) - len(answered),
        f"{median(answered):.1f}",
        f"{max(answered):.1f}",
        process.memory_info().rss // 10**6,
        process.num_fds(),
    )
    return f"{name:24}" + "".join(f"{figure:>12}" for figure in figures)


def open_connections(server: BenchServer) -> int:
    with server.client() as client:
        lines = client.get("/metrics").text.splitlines()
    return int(float(next(line for line in lines if line.startswith("tuningfork_http_connections ")).split()[1]))


if __name__ == "__main__":
    main()
