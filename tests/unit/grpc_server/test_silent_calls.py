"""Calls over gRPC that never send a message: strangers' end at once, others' in time, and none takes all places."""

import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields

import grpc
import pytest
from google.ai import generativelanguage_v1beta as api

from caller import identity_of
from patience import PATIENCE_SECONDS, wait_until
from tuningfork.dialect.gate import Gate
from tuningfork.dialect.gemini.table import UseCases, bindings
from tuningfork.domain.errors import ResourceExhausted
from tuningfork.grpc_server.serving import GrpcServer
from tuningfork.grpc_server.shares import Shares, address_of
from tuningfork.wire.gemini.errors import GEMINI_ERRORS
from workshop import ADA

GET_MODEL = "/google.ai.generativelanguage.v1beta.ModelService/GetModel"
REQUEST = api.GetModelRequest.serialize(api.GetModelRequest(name="models/echo-001"))
CODE = grpc.StatusCode


@dataclass(frozen=True, slots=True, kw_only=True)
class CountingGate(Gate):
    """Notes whom it has let in. A call takes its place as soon as its caller is in."""

    let_in: list = field(default_factory=list)

    async def admit_without_waiting(self, *asked, **options):
        principal = await super(CountingGate, self).admit_without_waiting(*asked, **options)
        self.let_in.append(principal)
        return principal


class SilentCall:
    """A call whose request never comes, until the test says that it ends."""

    def __init__(self, channel, metadata):
        self._over = threading.Event()
        self._call = channel.stream_stream(GET_MODEL)(self._requests(), metadata=metadata)

    def _requests(self):
        self._over.wait(2 * PATIENCE_SECONDS)
        yield from ()

    def code(self, seconds=PATIENCE_SECONDS):
        """How it ended; None if it is still open then."""
        deadline = time.monotonic() + seconds
        while self._call.is_active() and time.monotonic() < deadline:
            time.sleep(0.01)
        return None if self._call.is_active() else self._call.code()

    def end(self):
        self._over.set()
        self._call.cancel()


@pytest.fixture
def gate(workshop, quotas):
    return CountingGate(identity=identity_of(workshop), quotas=quotas)


@pytest.fixture
def start(workshop, gate, loop_thread, certificate):
    """Start a server with these limits; its port and a key."""
    servers = []

    def start(**limits):
        use_cases = UseCases(**{each.name: getattr(workshop, each.name) for each in fields(UseCases)})
        starting = GrpcServer.start(
            bindings(use_cases),
            GEMINI_ERRORS,
            gate,
            workshop.metrics.registry,
            certificate,
            host="127.0.0.1",
            port=0,
            **limits,
        )
        servers.append(loop_thread.run(starting))
        return servers[-1].port, workshop.access.create_key("ada's", ADA.email, ADA.project).key

    yield start
    for server in servers:
        loop_thread.run(server.stop())


@pytest.fixture
def connect(certificate):
    """Open a connection of its own to a port."""
    with ExitStack() as opened:
        credentials = grpc.ssl_channel_credentials(certificate.root_file.read_bytes())
        options = [("grpc.use_local_subchannel_pool", 1)]
        yield lambda port: opened.enter_context(grpc.secure_channel(f"localhost:{port}", credentials, options))


@contextmanager
def silent_calls(channel, count, *metadata):
    calls = [SilentCall(channel, metadata) for _ in range(count)]
    try:
        yield calls
    finally:
        for call in calls:
            call.end()


def test_a_stranger_is_refused_before_a_message_came(start, connect):
    port, _ = start()

    with silent_calls(connect(port), 1, ("x-goog-api-key", "nonsense")) as [bad_key]:
        assert bad_key.code() is CODE.INVALID_ARGUMENT
    with silent_calls(connect(port), 1) as [nobody]:
        assert nobody.code() is CODE.PERMISSION_DENIED


@pytest.mark.slow
def test_strangers_with_a_hundred_silent_calls_on_each_of_eleven_connections_keep_nobody_out(start, connect):
    port, key = start()

    with ExitStack() as attack:
        for _ in range(11):
            attack.enter_context(silent_calls(connect(port), 100))
        answer = connect(port).unary_unary(GET_MODEL)(
            REQUEST, metadata=[("x-goog-api-key", key)], timeout=PATIENCE_SECONDS
        )

    assert api.Model.deserialize(answer).name == "models/echo-001"


def test_a_caller_whose_message_does_not_come_is_told_so_in_time(start, connect):
    port, key = start(large_message_seconds=0.3)

    with silent_calls(connect(port), 1, ("x-goog-api-key", key)) as [late]:
        assert late.code() is CODE.DEADLINE_EXCEEDED


def test_the_first_calls_of_an_address_have_the_time_that_a_large_message_takes(start, connect, gate):
    port, key = start(message_seconds=0.3, large_message_seconds=2 * PATIENCE_SECONDS, most_calls_of_an_address=20)
    metadata = ("x-goog-api-key", key)

    with silent_calls(connect(port), 2, metadata) as first:
        wait_until(lambda: len(gate.let_in) == 2, what="both have arrived")
        with silent_calls(connect(port), 1, metadata) as [one_more]:
            code = one_more.code()
        codes = [call.code(0) for call in first]

    assert (code, codes) == (CODE.DEADLINE_EXCEEDED, [None, None])


def test_an_address_has_so_many_calls_at_a_time(start, connect, gate):
    port, key = start(most_calls_of_an_address=3)
    metadata = ("x-goog-api-key", key)

    with silent_calls(connect(port), 3, metadata):
        wait_until(lambda: len(gate.let_in) == 3, what="all of them have arrived")
        with silent_calls(connect(port), 1, metadata) as [one_more]:
            assert one_more.code() is CODE.RESOURCE_EXHAUSTED


def test_where_all_addresses_together_have_many_calls_no_address_is_quiet():
    shares = Shares(20)
    with ExitStack() as open_calls:
        quiet = [open_calls.enter_context(shares.place(f"ipv4:192.0.2.{number}:1")) for number in range(22)]

    with shares.place("ipv4:192.0.2.1:1") as again:
        pass
    assert quiet == [True] * 20 + [False] * 2
    assert again


def test_a_place_is_free_again_when_a_call_has_ended(start, connect):
    port, key = start(most_calls_of_an_address=1)
    call = connect(port).unary_unary(GET_MODEL)

    for _ in range(3):
        assert call(REQUEST, metadata=[("x-goog-api-key", key)], timeout=PATIENCE_SECONDS)


def test_a_call_without_a_message_is_refused(start, connect):
    port, key = start()
    call = connect(port).stream_stream(GET_MODEL)(
        iter(()), metadata=[("x-goog-api-key", key)], timeout=PATIENCE_SECONDS
    )

    with pytest.raises(grpc.RpcError) as caught:
        list(call)

    assert caught.value.code() is CODE.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.1:50000", "192.0.2.1"),
        ("ipv6:%5B2001:db8:1:2:3::9%5D:50000", "2001:db8:1:2::/64"),
        ("ipv6:[::1]:50000", "::/64"),
        ("unix:/some/path", "unix:"),
    ],
)
def test_an_address_is_a_peer_without_its_port(peer, address):
    assert address_of(peer) == address


def test_one_address_takes_nothing_of_anothers_share():
    shares = Shares(1)

    with shares.place("ipv4:192.0.2.1:1"):
        with shares.place("ipv4:192.0.2.2:1"):
            pass
        with pytest.raises(ResourceExhausted, match="1 calls open"), shares.place("ipv4:192.0.2.1:2"):
            pass
    with shares.place("ipv4:192.0.2.1:3"):
        pass
