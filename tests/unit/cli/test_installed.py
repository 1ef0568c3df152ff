"""What the commands do where only a client is installed, on Windows, and for a user without a home directory."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import dialect_service
import light_install
from tuningfork.cli import installed

PROGRAM = Path(light_install.__file__)
SERVERS_COMMANDS = [
    ("serve",),
    ("pull",),
    ("keys", "list"),
    ("groups", "list"),
    ("backup", "--to", "aside"),
    ("restore", "aside"),
    ("check",),
    ("set-aside",),
    ("tutorial", "--directory", "lesson"),
]


@pytest.fixture
def command(service, tmp_path):
    """Runs one command as a process, where only a client is installed unless `EVERYTHING` says otherwise."""

    def command(*arguments, **variables):
        return subprocess.run(
            [sys.executable, PROGRAM, *arguments],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
                "HOME": str(tmp_path),
                "TUNINGFORK_URL": service.url,
                "TUNINGFORK_DATA_DIR": str(tmp_path / "data"),
                **variables,
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return command


def test_a_client_alone_tunes_lists_asks_and_deletes(command, tmp_path):
    (tmp_path / "data.csv").write_text("text_input,output\n1,2\n3,4\n")
    key = {"TUNINGFORK_API_KEY": dialect_service.KEY}

    tuned = command("tune", "data.csv", **key)
    name = tuned.stdout.strip()

    assert tuned.returncode == 0, tuned.stderr
    assert name in command("models", **key).stdout
    assert command("generate", name, "3", **key).stdout == "4\n"
    assert command("export", name, "--to", "adapter", **key).returncode == 0
    assert command("delete", name, "--yes", **key).returncode == 0


def test_a_client_alone_finds_the_key_that_a_server_of_this_machine_has_left(command, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "api-key").write_text(dialect_service.KEY)

    assert "models/tuningfork-mini-001" in command("models").stdout


@pytest.mark.parametrize("arguments", SERVERS_COMMANDS, ids=lambda arguments: arguments[0])
def test_a_servers_command_without_its_packages_says_what_to_install(command, arguments):
    ended = command(*arguments)

    assert ended.returncode == 1
    assert "which is not installed" in ended.stderr
    assert "pip install 'tuningfork[server]'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_merging_without_its_packages_is_refused_before_anything_is_downloaded(command, service):
    ended = command("export", "tunedModels/x", "--merged", "model", TUNINGFORK_API_KEY=dialect_service.KEY)

    assert ended.returncode == 1
    assert "pip install 'tuningfork[server]'" in ended.stderr
    assert service.bodies == []


def test_help_needs_no_package_of_a_server(command):
    assert "--grpc-port" in command("serve", "--help").stdout


def test_the_base_dependencies_are_those_of_a_client():
    project = tomllib.loads((PROGRAM.parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert not light_install.base_packages() & {"torch", "transformers", "numpy", "sqlalchemy", "fastapi"}
    assert project["optional-dependencies"]["client"] == []


@pytest.mark.parametrize("arguments", SERVERS_COMMANDS, ids=lambda arguments: arguments[0])
def test_on_windows_a_server_is_refused_in_a_sentence(command, arguments):
    ended = command(*arguments, EVERYTHING="1", PLATFORM="win32")

    assert ended.returncode == 1
    assert "this is Windows" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_on_windows_the_commands_of_a_client_work(command):
    listed = command("models", "--api-key", dialect_service.KEY, EVERYTHING="1", PLATFORM="win32")

    assert "models/tuningfork-mini-001" in listed.stdout


def test_every_command_that_needs_a_servers_packages_is_known_as_one():
    assert {arguments[0] for arguments in SERVERS_COMMANDS} == installed.SERVERS_COMMANDS


def test_a_client_on_windows_imports_nothing_that_is_not_there():
    missing = "fcntl pwd grp resource termios syslog"
    program = f"import sys; sys.modules.update(dict.fromkeys('{missing}'.split())); import tuningfork.cli"

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=300)

    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("arguments", [("serve", "--port", "0"), ("keys", "list")], ids=lambda arguments: arguments[0])
def test_without_a_home_directory_an_operator_is_told_to_name_a_data_directory(command, arguments):
    ended = command(*arguments, EVERYTHING="1", NO_HOME="1", TUNINGFORK_DATA_DIR="")

    assert ended.returncode == 1
    assert "HOME" in ended.stderr
    assert "--data-dir" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("everything", ["", "1"])
def test_without_a_home_directory_commands_with_a_key_work(command, everything):
    variables = {"EVERYTHING": everything, "NO_HOME": "1", "TUNINGFORK_DATA_DIR": ""}

    listed = command("models", "--api-key", dialect_service.KEY, **variables)
    without = command("models", **variables)

    assert "models/tuningfork-mini-001" in listed.stdout
    assert without.returncode == 1
    assert "Traceback" not in without.stderr


def test_without_a_home_directory_no_login_is_remembered(command):
    ended = command("auth", "logout", EVERYTHING="1", NO_HOME="1")

    assert ended.returncode == 1
    assert "XDG_CONFIG_HOME" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_directory_that_cannot_be_read_is_refused_in_a_sentence(command, tmp_path):
    (tmp_path / "file").write_text("")

    ended = command("tutorial", "--directory", "file/below", EVERYTHING="1")

    assert ended.returncode == 1
    assert "--directory" in ended.stderr
    assert "Traceback" not in ended.stderr
