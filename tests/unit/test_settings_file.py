"""A file of settings: what it may hold, what overrides it, and how mistakes in it are named."""

import pytest
from pydantic import ValidationError

from tuningfork.settings import Settings
from tuningfork.settings_file import SettingsFileError, faults_in_words


@pytest.fixture
def write(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "tuningfork.toml"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def words(error, given, environment):
    return faults_in_words(error.value, given, environment)


def test_options_win_over_variables_these_over_the_file_and_the_file_over_defaults(monkeypatch, write):
    path = write('host = "127.0.0.2"\nport = 1\nconcurrent_jobs = 2\nsavepoint_every = 3\n')
    monkeypatch.setenv("TUNINGFORK_CONFIG", str(path))
    monkeypatch.setenv("TUNINGFORK_PORT", "11")
    monkeypatch.setenv("TUNINGFORK_CONCURRENT_JOBS", "12")

    settings = Settings(concurrent_jobs=22)

    assert (settings.concurrent_jobs, settings.port, settings.host) == (22, 11, "127.0.0.2")
    assert (settings.savepoint_every, settings.resident_adapters) == (3, 1_000)


def test_a_former_name_of_a_variable_wins_over_the_file_too(monkeypatch, write):
    monkeypatch.setenv("TUNINGFORK_CHECKPOINT_EVERY", "25")

    assert Settings(config=write("savepoint_every = 3")).savepoint_every == 25


def test_every_setting_can_be_in_a_file(write):
    special = {
        "safety": '"lexical"',
        "log_level": '"debug"',
        "log_format": '"json"',
        "metrics_token": '"for-metrics-only-1"',
        "oidc_issuer": '"https://x.example"',
        "weights": '"int8"',
        "over_project_quota": '"reject"',
    }
    lines = {
        name: f"{name} = {special.get(name) or sample(str(field.annotation))}"
        for name, field in Settings.model_fields.items()
        if name != "config"
    }

    settings = Settings(config=write("\n".join(lines.values())))

    assert settings.model_fields_set == {*lines, "config"}


def sample(annotation):
    """A value of this type, as TOML has it."""
    values = {"bool": "true", "float": "7.5", "list": "[]", "int": "7"}
    return next((value for kind, value in values.items() if kind in annotation), '"x"')


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_file_may_begin_with_a_byte_order_mark(write, encoding):
    assert Settings(config=write("port = 9", encoding)).port == 9


def test_paths_in_a_file_are_relative_to_it(write, tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "rater.toml").touch()
    path = write(
        'data_dir = "data"\ncatalog = "/etc/models.toml"\nsafety = "rater.toml"\nbase_model = ["a=base", "b=org/b"]\n'
    )

    settings = Settings(config=path)

    assert (settings.data_dir, str(settings.catalog)) == (tmp_path / "data", "/etc/models.toml")
    assert settings.safety == str(tmp_path / "rater.toml")
    assert settings.base_model == [f"a={tmp_path / 'base'}", "b=org/b"]
    assert Settings(config=write('safety = "lexical"\nbase_model = "a=base b=org/b"')).base_model == settings.base_model


def test_a_home_directory_that_there_is_not_is_no_reason_to_break(write, tmp_path, monkeypatch):
    path = write('data_dir = "~nobody-has-this-name/data"\nbase_model = ["mine=~nobody-has-this-name/model"]\n')

    assert Settings(config=path).data_dir == tmp_path / "~nobody-has-this-name" / "data"

    # Nor for a file in a folder that has such a name.
    folder = tmp_path / "~nobody-has-this-name"
    folder.mkdir()
    (folder / "tuningfork.toml").write_text("port = 'x'")
    monkeypatch.chdir(tmp_path)
    given = {"config": "~nobody-has-this-name/tuningfork.toml"}
    with pytest.raises(ValidationError) as error:
        Settings(**given)

    assert "port: " in words(error, given, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("port = 1\nrequest_per_minute = 5\n", "'request_per_minute' in line 2 (did you mean requests_per_minute?)"),
        ("TUNINGFORK_PORT = 1\n", "'TUNINGFORK_PORT' in line 1 (did you mean port?)"),
        ("log-level = 'info'\n", "'log-level' in line 1 (did you mean log_level?)"),
        ("\n[server]\nport = 1\n", "'server' in line 2 is a table, but every setting is a key outside of tables"),
        ("config = 'x'\n", "'config' in line 1 is only an option and a variable"),
        ("zzz = 1\n", "'zzz' in line 1. docs/command-line.md lists all settings"),
        ("port = \n", "is not valid TOML: Invalid value (at line 1"),
    ],
)
def test_a_key_that_is_no_setting_is_refused_with_the_nearest_name_and_its_line(write, text, said):
    path = write(text)

    with pytest.raises(SettingsFileError) as error:
        Settings(config=path)

    assert f"the settings file {path}" in str(error.value)
    assert said in str(error.value)


def test_a_file_in_another_encoding_or_that_is_not_there_is_refused(write, tmp_path):
    with pytest.raises(SettingsFileError, match="is not in UTF-8"):
        Settings(config=write("port = 9", "utf-16"))
    with pytest.raises(SettingsFileError, match=r"nowhere\.toml cannot be read: No such file"):
        Settings(config=tmp_path / "nowhere.toml")


def test_a_wrong_value_is_named_with_where_it_is_from(write):
    path = write('port = 70000\nopen_metrics = "perhaps"\ncors_origins = ["nonsense"]\n')
    environment = {"TUNINGFORK_CONFIG": str(path), "TUNINGFORK_CONCURRENT_JOBS": "none"}

    with pytest.raises(ValidationError) as error:
        Settings(config=path, concurrent_jobs="none", request_head_seconds=0)

    faults = words(error, {"request_head_seconds": 0, "config": path}, environment).split("; ")
    text = "; ".join(faults)
    assert f"port: Input should be less than or equal to 65535; 70000 was given ({path}, line 1)" in text
    assert f"'perhaps' was given ({path}, line 2)" in text
    assert f"or * for all; 'nonsense' is none ({path}, line 3)" in text
    assert "'none' was given (variable TUNINGFORK_CONCURRENT_JOBS)" in text
    assert "request_head_seconds: Input should be greater than 0; 0 was given" in text


def test_a_password_in_a_wrong_value_is_not_repeated(write):
    with pytest.raises(ValidationError) as error:
        Settings(config=write("database_url = ['postgresql://ada:secret@db']"))

    assert "secret" not in words(error, {}, {})
    assert words(error, {}, {}).startswith("database_url: Input should be a valid string")


def test_a_port_that_kubernetes_has_set_is_explained():
    with pytest.raises(ValidationError) as error:
        Settings(port="tcp://10.0.0.1:8000")

    assert "enableServiceLinks: false" in words(error, {}, {"TUNINGFORK_PORT": "tcp://10.0.0.1:8000"})
