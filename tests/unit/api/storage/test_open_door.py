"""Storage clients without a credential: refused, unless the operator lets in programs of the server's own machine."""

import pytest

from caller import identity_of
from storage_caller import StorageCaller, shape_is_that_of_storage
from tuningfork.dialect.gate import Gate
from tuningfork.dialect.storage.methods import StorageMethod
from tuningfork.domain.permission import LOCAL_PRINCIPAL

HERE = "localhost:8000"


def gate_of(workshop, *, is_open):
    methods = frozenset(StorageMethod) if is_open else frozenset()
    return Gate(identity=identity_of(workshop), quotas=workshop.quotas, open_methods=methods)


@pytest.fixture
def storage(workshop, tmp_path):
    made = StorageCaller(
        workshop, tmp_path, gate=gate_of(workshop, is_open=True), origins=("https://allowed.example.com",)
    )
    made.key = ""
    return made


def test_who_sends_no_credential_is_refused_by_default(workshop, tmp_path):
    storage = StorageCaller(workshop, tmp_path, gate=gate_of(workshop, is_open=False))
    storage.key = ""

    answer = storage.call("POST", "/storage/v1/b", {"name": "training"}, host=HERE)
    assert answer.status_code == 403
    assert shape_is_that_of_storage(answer)
    assert not storage.settings.root.joinpath("training").exists()


@pytest.mark.parametrize("host", [HERE, "127.0.0.1:1", "[::1]:8000"])
def test_programs_of_this_machine_are_the_machines_owner_where_the_operator_says_so(storage, host):
    assert storage.call("POST", "/storage/v1/b?project=any", {"name": "training"}, host=host).status_code == 200
    assert storage.storing.bucket(LOCAL_PRINCIPAL, "training").owner == LOCAL_PRINCIPAL.email


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example.com"},
        {"host": "localhost.evil.example.com:8000"},
        {"host": HERE, "origin": "https://evil.example.com"},
        {"host": HERE, "origin": "null"},
        {"host": HERE, "x_forwarded_for": "203.0.113.5"},
        {"host": HERE, "forwarded": "for=203.0.113.5"},
        {"host": HERE, "via": "1.1 proxy"},
    ],
)
@pytest.mark.parametrize("path", ["/storage/v1/b", "//storage//v1/b/", "/b"])
def test_web_pages_and_callers_behind_proxies_are_not(storage, headers, path):
    answer = storage.call("POST", path, {"name": "training"}, **headers)

    assert answer.status_code == 403
    assert not storage.settings.root.joinpath("training").exists()


def test_pages_of_allowed_origins_may_call(storage):
    answer = storage.call("GET", "/storage/v1/b", host=HERE, origin="https://allowed.example.com")

    assert answer.status_code == 200


def test_a_wrong_credential_is_not_as_good_as_none(storage):
    assert storage.call("GET", "/storage/v1/b", host=HERE, authorization="Bearer tf_wrong").status_code == 401
    assert storage.call("GET", "/storage/v1/b", host=HERE, x_goog_api_key="tf_wrong").status_code == 401


def test_with_a_credential_the_caller_is_who_holds_it(storage):
    storage.key = storage.caller.key
    storage.make("of-ada")
    storage.key = ""

    # The machine's owner is not Ada.
    assert storage.call("GET", "/storage/v1/b/of-ada", host=HERE).status_code == 404


def test_nothing_else_is_open(storage):
    assert storage.call("GET", "/v1beta/tunedModels", host=HERE).status_code == 403
