"""Settings come from options, then variables, then defaults."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from tuningfork.settings import Settings, default_data_directory


def test_an_option_wins_over_a_variable_and_a_variable_over_the_default(monkeypatch):
    monkeypatch.setenv("TUNINGFORK_PORT", "8123")
    monkeypatch.setenv("TUNINGFORK_HOST", "127.0.0.2")

    settings = Settings(port=9000)

    assert (settings.port, settings.host, settings.checkpoint_every) == (9000, "127.0.0.2", 10)


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
