"""A gRPC server over the workshop, on a loopback port, and callers of it."""

from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime

import pytest

from caller import identity_of
from grpc_caller import LoopThread, calling
from tuningfork.dialect.gate import Gate
from tuningfork.dialect.gemini.table import UseCases, bindings
from tuningfork.grpc_server.certificates import ServerCertificate, own_certificate, usual_hosts
from tuningfork.grpc_server.serving import GrpcServer
from tuningfork.service.quotas import Quotas
from tuningfork.wire.gemini.errors import GEMINI_ERRORS
from workshop import ADA, BOB, Workshop


@pytest.fixture(scope="session")
def loop_thread():
    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    return own_certificate(tmp_path_factory.mktemp("tls"), usual_hosts("127.0.0.1"), datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Service:
    """A running server. Calls are Ada's unless other metadata is given."""

    port: int
    certificate: ServerCertificate
    workshop: Workshop
    key: str
    bobs_key: str

    @contextmanager
    def calling(self, *metadata, **options):
        root = self.certificate.root_file.read_bytes()
        with calling(self.port, root, *(metadata or (("x-goog-api-key", self.key),)), **options) as caller:
            yield caller


@pytest.fixture
def quotas():
    """Nothing is too much, unless a test says so."""
    return Quotas()


@pytest.fixture
def service(workshop, quotas, loop_thread, certificate):
    identity = identity_of(workshop)
    use_cases = UseCases(**{field.name: getattr(workshop, field.name) for field in fields(UseCases)})
    start = GrpcServer.start(
        bindings(use_cases),
        GEMINI_ERRORS,
        Gate(identity=identity, quotas=quotas),
        workshop.metrics.registry,
        certificate,
        host="127.0.0.1",
        port=0,
    )
    server = loop_thread.run(start)
    ada = workshop.access.create_key("ada's", ADA.email, ADA.project)
    bob = workshop.access.create_key("bob's", BOB.email, BOB.project)
    yield Service(server.port, certificate, workshop, ada.key, bob.key)
    loop_thread.run(server.stop())


@pytest.fixture
def ada(service):
    """Ada, calling."""
    with service.calling() as caller:
        yield caller


@pytest.fixture
def bob(service):
    """Bob, a stranger to her models, calling."""
    with service.calling(("x-goog-api-key", service.bobs_key)) as caller:
        yield caller
