"""Where the server listens."""

import grpc
import pytest
from prometheus_client import CollectorRegistry

from patience import PATIENCE_SECONDS
from ports import free_port
from tuningfork.dialect.gate import Gate
from tuningfork.grpc_server.serving import CannotListen, GrpcServer
from tuningfork.wire.gemini.errors import GEMINI_ERRORS


@pytest.fixture
def start(workshop, loop_thread, certificate):
    """Start a server without methods, of which there may be several."""
    started = []

    def start(host, port=0):
        gate = Gate(identity=None, quotas=None)
        starting = GrpcServer.start((), GEMINI_ERRORS, gate, CollectorRegistry(), certificate, host=host, port=port)
        server = loop_thread.run(starting)
        started.append(server)
        return server

    yield start
    for server in started:
        loop_thread.run(server.stop())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "::1", "::"])
def test_it_is_reached_at_its_host(start, certificate, host):
    try:
        port = start(host).port
    except CannotListen:
        pytest.skip("this machine has no such address")

    name = f"[{host}]" if host == "::1" else "localhost"
    credentials = grpc.ssl_channel_credentials(certificate.root_file.read_bytes())
    with grpc.secure_channel(f"{name}:{port}", credentials) as channel:
        grpc.channel_ready_future(channel).result(PATIENCE_SECONDS)


def test_two_servers_do_not_share_a_port(start):
    port = start("127.0.0.1").port

    with pytest.raises(CannotListen, match=rf"cannot listen on 127\.0\.0\.1:{port}, which is taken .* --grpc-port"):
        start("127.0.0.1", port)


def test_an_address_of_another_machine_is_told(start):
    with pytest.raises(CannotListen, match=r"cannot listen on 192\.0\.2\.1:0"):
        start("192.0.2.1")


def test_a_port_is_free_again_after_a_stop(start, loop_thread):
    # One that the system gives to nobody meanwhile.
    server = start("127.0.0.1", free_port())
    loop_thread.run(server.stop())

    assert start("127.0.0.1", server.port).port == server.port


def test_to_stop_twice_is_fine(start, loop_thread):
    server = start("127.0.0.1")

    loop_thread.run(server.stop())
    loop_thread.run(server.stop())
