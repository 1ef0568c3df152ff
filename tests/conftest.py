"""Fixtures that every room's tests may ask for."""

import os
import random
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

from caller import Caller, caller_of
from exploring import EXPLORE, exploring, often
from fakes import Clock, InMemoryExecutor
from surroundings import forget_settings
from tuningfork.domain.base_model import BaseModel
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database
from workshop import Workshop, build_workshop, fresh_postgresql_schema

# A database, a server or a misspelled variable of whoever runs the tests is no part of them.
forget_settings()

if not Path("/dev/nvidiactl").exists():
    # Without a GPU kernels run in Triton's interpreter. Triton reads this once, when it is first imported.
    os.environ.setdefault("TRITON_INTERPRET", "1")

# The servers of all tests together would keep gigabytes.
os.environ["TUNINGFORK_DISK_RESERVE_MEBIBYTES"] = "1"

# How long an example takes is the machine's affair; pytest-timeout bounds each test.
_however_slow = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "print_blob": True}
settings.register_profile("suite", derandomize=True, **_however_slow)
settings.register_profile(EXPLORE, max_examples=often(100), **_however_slow)
settings.load_profile(EXPLORE if exploring() else "suite")

POSTGRESQL_URL = os.environ.get("TUNINGFORK_TEST_POSTGRESQL_URL")
"""When given, every test that asks for a database runs on PostgreSQL too, in a schema of its own."""


def pytest_configure() -> None:
    # Where tests run in a shell's background, SIGINT is ignored here and in all child processes; some tests send it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item) -> None:
    if item.get_closest_marker("bf16") is not None:
        from tuningfork.modeling.device.processor import computes_bfloat16  # noqa: PLC0415

        if not computes_bfloat16():
            pytest.skip("this processor, or what oneDNN is held to, has no bfloat16 products")


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same chance for every test, whichever tests this process ran before."""
    random.seed(0)
    for name, seed in (("numpy.random", "seed"), ("torch", "manual_seed")):
        # Loaded by those tests only that need it.
        if name in sys.modules:
            getattr(sys.modules[name], seed)(0)


@pytest.fixture(scope="session")
def tiny_directories(tmp_path_factory) -> dict[str, Path]:
    """Architecture name (llama, qwen3, gemma3) -> the directory of a small random model."""
    # Imported here, so that tests of the torch-free rooms do not wait seconds for torch.
    from tiny_models import Architecture, save_tiny_model  # noqa: PLC0415

    root = tmp_path_factory.mktemp("bases")
    return {architecture.value: save_tiny_model(architecture, root / architecture) for architecture in Architecture}


@pytest.fixture(params=["llama", "qwen3", "gemma3"])
def tiny_base(request, tiny_directories) -> BaseModel:
    """Each of the three small bases in turn."""
    from tiny_models import Architecture, tiny_base_model  # noqa: PLC0415

    return tiny_base_model(Architecture(request.param), tiny_directories[request.param])


@pytest.fixture
def tiny_llama(tiny_directories) -> BaseModel:
    """The small Llama, for what does not depend on the architecture."""
    from tiny_models import Architecture, tiny_base_model  # noqa: PLC0415

    return tiny_base_model(Architecture.LLAMA, tiny_directories["llama"])


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"] if POSTGRESQL_URL else ["sqlite"])
def database_url(request, tmp_path) -> Iterator[str]:
    """The URL of a database that is empty, without tables even."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'tuningfork.db'}"
    else:
        with fresh_postgresql_schema(POSTGRESQL_URL, f"test_{uuid4().hex}") as url:
            yield url


@pytest.fixture(scope="session")
def migrated_sqlite_file(tmp_path_factory) -> Path:
    """An empty database with all its tables, to be copied: a migration for every test would be most of its time."""
    path = tmp_path_factory.mktemp("migrated") / "tuningfork.db"
    Database.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def database(database_url, migrated_sqlite_file) -> Iterator[Database]:
    if database_url.startswith("sqlite:///"):
        shutil.copy(migrated_sqlite_file, database_url.removeprefix("sqlite:///"))
    database = Database.open(database_url)
    yield database
    database.close()


@pytest.fixture
def artifacts(tmp_path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


@pytest.fixture
def executor(clock) -> Iterator[InMemoryExecutor]:
    executor = InMemoryExecutor(clock)
    yield executor
    executor.close()


@pytest.fixture
def workshop(database, artifacts, clock, executor) -> Iterator[Workshop]:
    """The use cases over the executor in memory. The dispatcher is not started: a test starts it, or drives by hand."""
    workshop = build_workshop(database, artifacts, clock, executor)
    yield workshop
    workshop.dispatcher.close()


@pytest.fixture
def caller(workshop) -> Caller:
    """Somebody who calls the API over the workshop, in-process."""
    return caller_of(workshop)


@pytest.fixture
def loaded_tiny(tiny_base):
    """Each of the three small bases in turn, resident, in fp32, with slots of its own."""
    import torch  # noqa: PLC0415

    from tuningfork.modeling.loading import load_base  # noqa: PLC0415

    return load_base(tiny_base, dtype=torch.float32)


@pytest.fixture
def loaded_llama(tiny_llama):
    """The small Llama, resident, in fp32, with slots of its own."""
    import torch  # noqa: PLC0415

    from tuningfork.modeling.loading import load_base  # noqa: PLC0415

    return load_base(tiny_llama, dtype=torch.float32)
