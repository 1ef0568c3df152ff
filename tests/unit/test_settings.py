"""Settings come from options, then variables, then a file, then defaults."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

import tuningfork
from tuningfork.domain.user_directories import default_data_directory
from tuningfork.execution.base import AdapterLimits
from tuningfork.settings import Settings


def test_an_option_wins_over_a_variable_and_a_variable_over_the_default(monkeypatch):
    monkeypatch.setenv("TUNINGFORK_PORT", "8123")
    monkeypatch.setenv("TUNINGFORK_HOST", "127.0.0.2")

    settings = Settings(port=9000)

    assert (settings.port, settings.host, settings.savepoint_every) == (9000, "127.0.0.2", 10)


# `config` names the file that the other settings are read from.
@pytest.mark.parametrize("name", sorted({*Settings.model_fields} - {"config"}))
def test_every_setting_is_read(name):
    package = Path(tuningfork.__file__).parent
    paths = [*(package / "server").glob("*.py"), package / "cli" / "serving.py"]
    readers = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    own_properties = (package / "settings.py").read_text(encoding="utf-8")

    assert re.search(rf"settings\.{name}\b", readers) or re.search(rf"self\.{name}\b", own_properties)


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_an_empty_variable_is_as_good_as_none(monkeypatch, name):
    # As `environment:` in a compose file leaves them. An empty host would listen on every address.
    monkeypatch.delenv(f"TUNINGFORK_{name.upper()}", raising=False)
    default = getattr(Settings(), name)

    monkeypatch.setenv(f"TUNINGFORK_{name.upper()}", "")
    assert getattr(Settings(), name) == default


def test_the_former_name_of_a_setting_still_works(monkeypatch):
    monkeypatch.delenv("TUNINGFORK_SAVEPOINT_EVERY", raising=False)
    monkeypatch.setenv("TUNINGFORK_CHECKPOINT_EVERY", "25")
    assert Settings().savepoint_every == 25

    monkeypatch.setenv("TUNINGFORK_SAVEPOINT_EVERY", "5")
    assert Settings().savepoint_every == 5
    assert Settings(savepoint_every=7).savepoint_every == 7


def test_several_base_models_fit_in_one_variable(monkeypatch):
    monkeypatch.setenv("TUNINGFORK_BASE_MODEL", "a=/models/a  b=org/b")

    assert Settings().base_model == ["a=/models/a", "b=org/b"]
    assert Settings(base_model=["c=org/c"]).base_model == ["c=org/c"]


def test_everything_durable_is_below_the_data_directory_by_default(tmp_path):
    settings = Settings(data_dir=tmp_path)

    assert settings.resolved_database_url == f"sqlite:///{tmp_path}/tuningfork.db"
    assert settings.key_file == tmp_path / "api-key"


def test_the_data_directory_follows_the_desktop_standard(monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")

    assert default_data_directory() == Path("/somewhere/tuningfork")


@pytest.mark.parametrize(("name", "value"), [("port", "70000"), ("log_level", "loud"), ("trainer_threads", "0")])
def test_a_value_out_of_range_is_refused(monkeypatch, name, value):
    monkeypatch.setenv(f"TUNINGFORK_{name.upper()}", value)

    with pytest.raises(ValidationError, match=name):
        Settings()


@pytest.mark.parametrize("given", ["grpc_certificate", "grpc_private_key"])
def test_a_certificate_and_its_key_come_together(given):
    with pytest.raises(ValidationError, match="must be given together with grpc_certificate"):
        Settings(**{given: Path("any.pem")})


def test_origins_are_written_as_browsers_write_them(monkeypatch):
    monkeypatch.setenv(
        "TUNINGFORK_CORS_ORIGINS", "https://App.example/ https://b.example:443 http://[::1]:80 http://c.example:443"
    )

    assert Settings().cors_origins == [
        "https://app.example",
        "https://b.example",
        "http://[::1]",
        "http://c.example:443",
    ]
    assert Settings(cors_origins=["*"]).cors_origins == ["*"]


@pytest.mark.parametrize(
    "origin",
    [
        "app.example",
        "https://app.example/page",
        "https://",
        "localhost:3000",
        "https://*.example",
        "https://ada@app.example",
        "https://bücher.example",
        "null",
        "https://app.example:x",
    ],
)
def test_an_origin_that_no_browser_sends_is_refused(origin):
    with pytest.raises(ValidationError, match="an origin is scheme://host"):
        Settings(cors_origins=[origin])


def test_an_issuer_needs_an_audience():
    with pytest.raises(ValidationError, match="oidc_audience"):
        Settings(oidc_issuer="https://issuer.example")

    with pytest.raises(ValidationError, match="must be given together with oidc_issuer"):
        Settings(oidc_audience="tuningfork")

    settings = Settings(oidc_issuer="https://issuer.example/", oidc_audience="tuningfork")
    assert (
        settings.oidc_issuer,
        settings.oidc_email_claim,
        settings.oidc_scope_claim,
        settings.oidc_default_scopes,
    ) == (
        "https://issuer.example/",
        "email",
        "scope",
        [],
    )


@pytest.mark.parametrize(
    "issuer", ["http://issuer.example", "issuer.example", "ftp://issuer.example", "https://", "https://x/?a=b"]
)
def test_an_issuer_must_be_a_safe_place(issuer):
    with pytest.raises(ValidationError, match="must be an https URL"):
        Settings(oidc_issuer=issuer, oidc_audience="tuningfork")


def test_an_issuer_on_this_machine_needs_no_certificate():
    assert Settings(oidc_issuer="http://127.0.0.1:8080/realms/x", oidc_audience="tuningfork").oidc_issuer


def test_default_scopes_may_be_named_in_short(monkeypatch):
    monkeypatch.setenv("TUNINGFORK_OIDC_DEFAULT_SCOPES", "generative-language.tuning.readonly cloud-platform")

    assert Settings().oidc_default_scopes == [
        "https://www.googleapis.com/auth/generative-language.tuning.readonly",
        "https://www.googleapis.com/auth/cloud-platform",
    ]
    with pytest.raises(ValidationError, match="no scope of this service"):
        Settings(oidc_default_scopes=["everything"])


@pytest.mark.parametrize("name", ["requests_per_minute", "tokens_per_minute", "concurrent_tuning_jobs_per_key"])
def test_a_budget_is_a_number_from_one_up_or_left_out(name):
    assert getattr(Settings(), name) is None
    assert getattr(Settings(**{name: 1}), name) == 1
    with pytest.raises(ValidationError, match=name):
        Settings(**{name: 0})


def test_models_that_stay_in_memory_are_named_in_full(monkeypatch):
    monkeypatch.setenv("TUNINGFORK_PINNED_MODELS", "tunedModels/one tunedModels/two-2")

    assert Settings().pinned_ids == {"one", "two-2"}
    for wrong in ("one", "models/one", "tunedModels/", "tunedModels/One"):
        with pytest.raises(ValidationError, match="a tuned model is named tunedModels/ID"):
            Settings(pinned_models=[wrong])


def test_operators_are_named_by_their_addresses(monkeypatch):
    monkeypatch.setenv("TUNINGFORK_OPERATORS", "Bob@Example.com ada@example.com")

    assert Settings().operators == ["ada@example.com", "bob@example.com"]
    with pytest.raises(ValidationError, match=r"must be an address such as ada@example\.com"):
        Settings(operators=["ada"])


def test_the_room_for_adapters_is_given_in_mebibytes(monkeypatch):
    assert Settings().adapter_limits == AdapterLimits(adapters=1_000, bytes=None)
    monkeypatch.setenv("TUNINGFORK_RESIDENT_ADAPTERS", "7")
    monkeypatch.setenv("TUNINGFORK_RESIDENT_ADAPTER_MEBIBYTES", "3")
    assert Settings().adapter_limits == AdapterLimits(adapters=7, bytes=3 * 2**20)
