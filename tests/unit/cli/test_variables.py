"""A variable of the environment that nothing reads is refused by every command."""

import pytest
from typer.testing import CliRunner

import command_line_docs
from tuningfork.cli import app
from tuningfork.settings import Settings


def run(*arguments, **variables):
    return CliRunner().invoke(app, [*arguments], env=variables)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("TUNINGFORK_REQUEST_PER_MINUTE", "did you mean TUNINGFORK_REQUESTS_PER_MINUTE?"),
        ("TUNINGFORK_WORKER_SILENCE_SECOND", "did you mean TUNINGFORK_WORKER_SILENCE_SECONDS?"),
        ("TUNINGFORK_TUNE_EPOCH", "did you mean TUNINGFORK_TUNE_EPOCHS?"),
        ("TUNINGFORK_QQQQ", "TUNINGFORK_QQQQ (unset it)"),
        ("TUNINGFORK_VERSION", "TUNINGFORK_VERSION"),
    ],
)
@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("keys", "list"), ("models",)])
def test_an_unknown_variable_is_refused_with_the_nearest_name(tmp_path, command, name, said):
    refused = run(*command, TUNINGFORK_DATA_DIR=str(tmp_path), **{name: "1"})

    assert refused.exit_code == 1
    assert f"tuningfork: unknown environment variables: {name}" in refused.stderr
    assert said in refused.stderr
    assert "docs/command-line.md" in refused.stderr
    assert not any(tmp_path.iterdir())


SERVICE = {
    "TUNINGFORK_SERVICE_HOST": "10.0.0.1",
    "TUNINGFORK_SERVICE_PORT": "8000",
    "TUNINGFORK_SERVICE_PORT_HTTP": "8000",
    "TUNINGFORK_PORT": "tcp://10.0.0.1:8000",
    "TUNINGFORK_PORT_8000_TCP": "tcp://10.0.0.1:8000",
    "TUNINGFORK_PORT_8000_TCP_PROTO": "tcp",
    "TUNINGFORK_PORT_8000_TCP_PORT": "8000",
    "TUNINGFORK_PORT_8000_TCP_ADDR": "10.0.0.1",
    "TUNINGFORK_DATABASE_PORT": "tcp://10.0.0.2:5432",
    "TUNINGFORK_DATABASE_SERVICE_HOST": "10.0.0.2",
}
"""What Kubernetes sets in a namespace with the Services tuningfork and tuningfork-database."""


def test_variables_of_kubernetes_own_hinder_no_command(tmp_path):
    assert run("auth", "logout", XDG_CONFIG_HOME=str(tmp_path), **SERVICE).exit_code == 0


def test_the_one_of_them_that_is_a_setting_is_refused_with_the_way_out(tmp_path):
    data = {"TUNINGFORK_DATA_DIR": str(tmp_path)}

    refused = run("keys", "list", **data, **SERVICE)

    assert refused.exit_code == 1
    assert "port: " in refused.stderr
    assert "enableServiceLinks: false" in refused.stderr
    assert run("keys", "list", **data, **{**SERVICE, "TUNINGFORK_PORT": "8000"}).exit_code == 0


def test_every_variable_that_is_documented_is_known(tmp_path):
    settings = {f"TUNINGFORK_{name.upper()}": "" for name in Settings.model_fields}
    options = {
        command_line_docs.variable(path, parameter): ""
        for path, command in command_line_docs.commands()
        for parameter in command.params
        if parameter.param_type_name == "option"
    }
    others = {"TUNINGFORK_CHECKPOINT_EVERY": "", "TUNINGFORK_TEST_POSTGRESQL_URL": "x", "TUNINGFORK_BENCH_TRACE": "x"}
    variables = {**settings, **options, **others, "TUNINGFORK_DATA_DIR": str(tmp_path)}

    assert run("keys", "list", **variables).exit_code == 0


def test_the_variables_of_worker_processes_are_known(tmp_path):
    names = ("THREADS", "ARTIFACTS", "ADAPTERS", "ADAPTER_BYTES", "GPU_SHORTCUTS", "WEIGHTS")
    variables = {f"TUNINGFORK_WORKER_{name}": "1" for name in names}

    assert run("keys", "list", TUNINGFORK_DATA_DIR=str(tmp_path), **variables).exit_code == 0


def test_a_file_of_settings_reaches_the_commands_of_operators(tmp_path):
    path = tmp_path / "tuningfork.toml"
    path.write_text('data_dir = "here"')

    made = run("keys", "create", "--config", str(path))
    listed = run("keys", "list", TUNINGFORK_CONFIG=str(path))

    assert made.exit_code == 0
    assert made.stdout.startswith(listed.stdout.split("\t")[1].rstrip("."))
    assert (tmp_path / "here" / "tuningfork.db").exists()


def test_a_wrong_file_of_settings_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / "tuningfork.toml"
    path.write_text("ports = 1")

    refused = run("serve", "--config", str(path))

    assert refused.exit_code == 1
    assert refused.stderr == (
        f"tuningfork: the settings file {path} has keys that are no settings: 'ports' in line 1 (did you mean port?). "
        "docs/command-line.md lists all settings\n"
    )


def test_a_client_names_a_wrong_file_of_settings_where_it_looks_for_a_key(tmp_path):
    path = tmp_path / "tuningfork.toml"
    path.write_text("ports = 1")

    refused = run("models", TUNINGFORK_CONFIG=str(path), TUNINGFORK_URL="http://127.0.0.1:9")

    assert refused.exit_code == 1
    assert "did you mean port?" in refused.stderr
