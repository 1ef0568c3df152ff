"""What the composition root does before anybody is served."""

import asyncio
import shutil
import subprocess
import sys
from dataclasses import replace

import httpx
import pytest

from patience import PATIENCE_SECONDS
from store_rows import keep, new_job
from tuningfork.api.app import create_app
from tuningfork.catalog import EMBEDDED_MODEL
from tuningfork.dialect.gemini.methods import GeminiMethod
from tuningfork.dialect.scopes import Scope
from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.errors import QuotaExceeded
from tuningfork.domain.permission import LOCAL_PRINCIPAL
from tuningfork.domain.tuning_job import JobId
from tuningfork.embedded import model_directory
from tuningfork.pulling.kept import KeptBase, bases_below, write_description
from tuningfork.server.compose import compose
from tuningfork.server.data_directory import StartError, open_access
from tuningfork.service.identity.openid import TrustedIssuer
from tuningfork.settings import Settings
from tuningfork.store import tuning_jobs
from tuningfork.store.database import Database


def test_a_new_data_directory_is_for_its_user_only(tmp_path):
    settings = Settings(data_dir=tmp_path / "new" / "data")

    with open_access(settings) as access:
        access.create_key("any", "ada@example.com", "local")

    assert settings.data_dir.stat().st_mode & 0o777 == 0o700


def test_a_data_directory_that_exists_stays_as_its_owner_set_it(tmp_path):
    directory = tmp_path / "data"
    directory.mkdir(mode=0o750)

    with open_access(Settings(data_dir=directory)):
        pass

    assert directory.stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("opened", [open_access, compose])
def test_a_file_where_the_data_directory_should_be_is_told(tmp_path, opened):
    (tmp_path / "data").write_text("not a directory")

    with pytest.raises(StartError, match="data cannot be the data directory"), opened(_settings(tmp_path)):
        pass


@pytest.mark.parametrize("opened", [open_access, compose])
def test_a_damaged_database_is_told(tmp_path, opened):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tuningfork.db").write_bytes(b"no database at all" * 1000)

    with pytest.raises(StartError, match=r"tuningfork\.db cannot be used \(file is not a database\)"):
        opened(_settings(tmp_path)).__enter__()


def test_a_directory_where_the_database_should_be_is_told(tmp_path):
    (tmp_path / "data" / "tuningfork.db").mkdir(parents=True)

    with pytest.raises(StartError, match="cannot be used"), compose(_settings(tmp_path)):
        pass


def recorded_base(settings):
    """What the name of a Gemini model in a job of an earlier version is found to mean by a server that starts."""
    with compose(settings):
        pass
    database = Database.open(settings.resolved_database_url)
    keep(database, replace(new_job("old"), base_model=BaseModelName("models/gemini-1.0-pro-001")))

    with compose(settings):
        pass

    with database.read() as connection:
        job = tuning_jobs.find(connection, JobId("old-job"))
    database.close()
    return job.resolved_base


def test_the_bases_of_models_from_an_earlier_version_are_recorded(tmp_path):
    assert recorded_base(_settings(tmp_path)) == EMBEDDED_MODEL.name


def test_what_a_name_meant_to_an_earlier_version_is_no_model_that_was_fetched_since(tmp_path):
    settings = _settings(tmp_path)
    place = bases_below(settings.data_dir) / "toy"
    shutil.copytree(model_directory(), place)
    write_description(place, KeptBase(name="toy", aliases=("gemini-1.0-pro-001",)))

    assert recorded_base(settings) == EMBEDDED_MODEL.name


def test_a_server_has_the_models_that_were_fetched_into_its_data_directory(tmp_path):
    settings = _settings(tmp_path, no_auth=True)
    place = bases_below(settings.data_dir) / "toy"
    shutil.copytree(model_directory(), place)
    write_description(place, KeptBase(name="toy", aliases=("gemini-1.0-pro-001",)))

    async def listed(app):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1") as client:
            return (await client.get("/v1beta/models")).json()["models"]

    with compose(settings) as server:
        models = asyncio.run(listed(create_app(server._services)))

    assert "models/toy" in [model["name"] for model in models]


@pytest.mark.parametrize(("host", "origins"), [("0.0.0.0", []), ("gpu.example", []), ("127.0.0.1", ["*"])])
def test_buckets_are_open_to_programs_of_this_machine_only(tmp_path, host, origins):
    settings = _settings(tmp_path, host=host, cors_origins=origins, storage_without_credentials=True)

    with pytest.raises(StartError, match="leave out TUNINGFORK_STORAGE_WITHOUT_CREDENTIALS"), compose(settings):
        pass


@pytest.mark.parametrize(("settings", "status"), [({}, 403), ({"storage_without_credentials": True}, 200)])
def test_buckets_are_closed_to_who_has_no_credential_unless_the_operator_opens_them(tmp_path, settings, status):
    async def listed(app):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1") as client:
            return await client.get("/storage/v1/b")

    with compose(_settings(tmp_path, **settings)) as server:
        assert asyncio.run(listed(create_app(server._services))).status_code == status


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "gpu.example", ""])
def test_a_server_without_credentials_listens_on_this_machine_only(tmp_path, host):
    settings = _settings(tmp_path, host=host, no_auth=True)

    with pytest.raises(StartError, match=r"leave out --host, or leave out --no-auth and make keys"), compose(settings):
        pass


def test_a_server_without_credentials_lets_no_page_in_that_is_not_named(tmp_path):
    settings = _settings(tmp_path, no_auth=True, cors_origins=["*"])

    with pytest.raises(StartError, match="every web page"), compose(settings):
        pass


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost"])
def test_a_server_without_credentials_makes_no_key(tmp_path, host):
    settings = _settings(tmp_path, host=host, no_auth=True)

    with compose(settings) as server:
        assert server.new_key is None
    assert not settings.key_file.exists()


def test_the_settings_of_identity_and_budgets_reach_the_gate(tmp_path):
    settings = _settings(
        tmp_path,
        oidc_issuer="https://issuer.example",
        oidc_audience="tuningfork",
        oidc_email_claim="upn",
        oidc_default_scopes=["cloud-platform"],
        requests_per_minute=1,
        cors_origins=["https://app.example"],
    )

    with compose(settings) as server:
        gate = server._services.gate
        assert gate.identity.outside.trusted == TrustedIssuer(
            url="https://issuer.example",
            audience="tuningfork",
            scopes=frozenset(Scope),
            email_claim="upn",
            default_scopes=frozenset({Scope.CLOUD_PLATFORM.value}),
        )
        assert gate.require_credential
        assert server._services.origins == ("https://app.example",)
        gate.quotas.admit(LOCAL_PRINCIPAL, GeminiMethod.LIST_MODELS.cost)
        with pytest.raises(QuotaExceeded):
            gate.quotas.admit(LOCAL_PRINCIPAL, GeminiMethod.LIST_MODELS.cost)


def _settings(directory, **others):
    return Settings(data_dir=directory / "data", port=0, **others)


def test_a_certificate_for_grpc_that_cannot_be_read_is_told(tmp_path):
    settings = Settings(
        data_dir=tmp_path / "data",
        port=0,
        grpc_port=0,
        grpc_certificate=tmp_path / "none.pem",
        grpc_private_key=tmp_path / "none.pem",
    )

    with pytest.raises(StartError, match=r"none\.pem cannot be read"), compose(settings):
        pass


def test_a_server_that_is_composed_is_ready_part_by_part(tmp_path):
    with compose(_settings(tmp_path, no_auth=True)) as server:
        # The thread that hands jobs out starts with the server.
        assert server._services.ready() == {
            "database": None,
            "artifacts": None,
            "jobs": "the dispatcher is not running",
            "trainer": None,
            "generator": None,
            "stopping": None,
        }


def test_a_server_that_stops_is_not_ready(tmp_path):
    with compose(_settings(tmp_path, no_auth=True)) as server:
        server._services.stopping.announced = True
        server._engines.close()

        checks = server._services.ready()

        assert checks["stopping"] == "the server is stopping"
        assert checks["trainer"] == checks["generator"] == "it is being closed"


SERVING = """
import gc, os, signal, sys, threading, time, urllib.request
from pathlib import Path
from tuningfork.server.compose import compose
from tuningfork.settings import Settings

def tell(server):
    while True:
        try:
            urllib.request.urlopen(f"{server.url}/healthz")
            break
        except OSError:
            time.sleep(0.05)
    print(gc.get_freeze_count() > 50_000, gc.isenabled(), sys.getswitchinterval() < 0.005)
    os.kill(os.getpid(), signal.SIGTERM)

gc.disable()
sys.setswitchinterval(0.007)
with compose(Settings(data_dir=Path("data"), port=0)) as server:
    threading.Thread(target=tell, args=(server,)).start()
    server.run()
print(gc.get_freeze_count(), gc.isenabled(), round(sys.getswitchinterval(), 4))
"""


def test_what_a_server_consists_of_is_left_out_of_garbage_collections_while_it_serves(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", SERVING],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )

    assert (ended.stdout, ended.returncode) == ("True True True\n0 False 0.007\n", 0), ended.stderr
