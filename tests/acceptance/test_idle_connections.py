"""A server that may open 256 files goes on answering while 300 clients hold connections and do nothing with them."""

import threading
import time
from statistics import median
from urllib.parse import urlsplit

import httpx
import pytest

import idle_clients
from live_server import LiveServer
from patience import PATIENCE_SECONDS
from tuningfork.server.data_directory import make_private
from tuningfork.settings import Settings

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

OPEN_FILES = 256
CLIENTS = 300
MOST_LOG_BYTES = 50_000
CUT_OFF_SECONDS = Settings.model_fields["request_head_seconds"].default
"""A request that waited for an idle client's place would wait until that client is cut off."""


@pytest.fixture(scope="module")
def small_server(tmp_path_factory):
    # What remains in the log is what idle clients cause.
    variables = {"TUNINGFORK_ACCESS_LOG": "false"}
    server = LiveServer(tmp_path_factory.mktemp("small"), variables=variables, open_files=OPEN_FILES)
    make_private(server.data_directory)
    idle_clients.keep_large_model(server.data_directory)
    try:
        server.start()
        idle_clients.allow_files(2 * CLIENTS + 200)
        yield server
    finally:
        server.stop()


@pytest.mark.parametrize("kind", sorted(idle_clients.KINDS))
def test_normal_requests_go_on_beside_idle_connections(small_server, kind):
    where = urlsplit(small_server.url)
    before = [seconds_of_a_request(small_server) for _ in range(20)]
    during = []
    with idle_clients.held(idle_clients.KINDS[kind], CLIENTS, where.hostname, where.port, small_server.key):
        # The answers that nobody reads are made first.
        seconds_of_a_request(small_server)
        until = time.monotonic() + 3
        while time.monotonic() < until:
            during.append(seconds_of_a_request(small_server))
            time.sleep(0.05)
        assert small_server.process.num_fds() < OPEN_FILES - 20
    after = [seconds_of_a_request(small_server) for _ in range(20)]

    # The other tests of a busy machine may have begun or ended something meanwhile.
    assert median(during) < 5 * max(median(before), median(after)) + 0.05
    assert max(during) < CUT_OFF_SECONDS / 2
    assert small_server.log.stat().st_size < MOST_LOG_BYTES, small_server.log.read_text()[-3_000:]


def test_normal_requests_go_on_while_idle_clients_come_back_again_and_again(small_server):
    where = urlsplit(small_server.url)
    stop = threading.Event()

    def attack(kind):
        while not stop.is_set():
            with idle_clients.held(idle_clients.KINDS[kind], 60, where.hostname, where.port, small_server.key):
                stop.wait(0.5)

    kinds = [kind for kind in idle_clients.KINDS if kind != "slow reader"]
    attackers = [threading.Thread(target=attack, args=(kind,)) for kind in kinds]
    for each in attackers:
        each.start()
    try:
        during = [seconds_of_a_request(small_server) for _ in range(60)]
    finally:
        stop.set()
        for each in attackers:
            each.join()

    assert max(during) < CUT_OFF_SECONDS / 2
    assert small_server.log.stat().st_size < MOST_LOG_BYTES, small_server.log.read_text()[-3_000:]


def seconds_of_a_request(server):
    """The time of a request on a connection of its own, which must be answered."""
    began = time.monotonic()
    answer = httpx.get(f"{server.url}/v1beta/models", headers=server.headers, timeout=PATIENCE_SECONDS)
    assert answer.status_code == 200, answer.text
    return time.monotonic() - began
