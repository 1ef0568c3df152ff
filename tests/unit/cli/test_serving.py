"""The commands of whoever runs the server: keys are made, shown and revoked; a server that cannot start says why."""

import fcntl
import gc
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tuningfork.cli import app
from tuningfork.cli.banner import announce, curl_commands, welcome
from tuningfork.server.ports import GrpcAddress
from tuningfork.settings import Settings


@pytest.fixture
def run(tmp_path):
    def run(*arguments: str):
        return CliRunner().invoke(app, [*arguments, "--data-dir", str(tmp_path)])

    return run


def test_a_new_key_is_all_that_is_printed_and_no_list_shows_it_again(run):
    created = run("keys", "create", "--name", "laptop", "--email", "Ada@Example.com", "--project", "p1")
    listed = run("keys", "list")

    key = created.stdout.strip()
    assert created.stdout == key + "\n"
    assert key.startswith("tf_")
    assert key not in listed.stdout
    assert listed.stdout.split("\t")[2:5] == ["laptop", "ada@example.com", "p1"]
    assert listed.stdout.strip().endswith("valid")


def test_a_revoked_key_is_listed_as_revoked(run):
    run("keys", "create")
    key_id = run("keys", "list").stdout.split("\t")[0]

    assert run("keys", "revoke", key_id).exit_code == 0
    assert "revoked" in run("keys", "list").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("keys", "revoke", "nobody"), "API key nobody does not exist"),
        (("keys", "create", "--email", "nobody"), "such as ada@example.com"),
        (("serve", "--base-model", "x"), "NAME=LOCATION"),
        (("serve", "--log-level", "loud"), "log_level"),
        (("serve", "--catalog", "/nowhere.toml"), "/nowhere.toml cannot be read"),
        (("serve", "--no-auth", "--host", "0.0.0.0"), "'0.0.0.0' is no loopback address"),
        (("serve", "--no-auth", "--cors-origin", "*"), "every web page"),
        (("serve", "--cors-origin", "app.example"), "cors_origins: an origin is scheme://host"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(run, arguments, said):
    refused = run(*arguments)

    assert refused.exit_code == 1
    assert said in refused.stderr
    assert refused.stdout == ""


@pytest.mark.parametrize("collects", [True, False])
def test_after_a_start_that_is_refused_garbage_is_collected_as_before(run, collects):
    was = gc.isenabled()
    (gc.enable if collects else gc.disable)()
    try:
        refused = run("serve", "--catalog", "/nowhere.toml")
        found = gc.isenabled()
    finally:
        (gc.enable if was else gc.disable)()

    assert (refused.exit_code, found) == (1, collects)


def test_a_taken_port_is_refused_with_the_cure(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = run("serve", "--port", str(taken.getsockname()[1]))

    assert refused.exit_code == 1
    assert "choose another with --host or --port" in refused.stderr


def test_two_servers_never_share_a_data_directory(run, tmp_path):
    with (tmp_path / "server.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = run("serve", "--port", "0")

    assert refused.exit_code == 1
    assert "another server already uses" in refused.stderr


def test_the_key_is_shown_once_on_a_terminal_and_later_only_its_place(tmp_path):
    settings = Settings(data_dir=tmp_path)
    settings.key_file.write_text("tf_secret")

    first = welcome("http://127.0.0.1:8000", settings, "tf_secret", shows_key=True)
    unseen = welcome("http://127.0.0.1:8000", settings, "tf_secret")
    later = welcome("http://127.0.0.1:8000", settings, None)

    assert "tf_secret" in first
    assert "tf_secret" not in unseen + later
    assert f"API key         made, and kept in {settings.key_file}, which only you can read" in unseen
    assert str(settings.key_file) in later


def test_without_a_key_file_the_way_to_a_key_is_shown(tmp_path):
    text = welcome("http://127.0.0.1:8000", Settings(data_dir=tmp_path), None)

    assert f"tuningfork keys create --data-dir {tmp_path}" in text
    assert "x-goog-api-key: YOUR_KEY" in text


def test_the_commands_to_paste_are_words_that_a_shell_understands(tmp_path):
    for _, command in curl_commands("http://127.0.0.1:8000", Settings(data_dir=tmp_path)):
        words = subprocess.run(
            ["sh", "-c", command.replace("curl", f"{sys.executable} -c 'import sys; print(len(sys.argv))'", 1)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert int(words.stdout) in (4, 6)


@pytest.mark.parametrize(
    ("root", "said"),
    [
        (None, ["gRPC            localhost:9443", "data directory"]),
        (
            Path("/a place/root.pem"),
            [
                "gRPC            localhost:9443",
                "Google's clients trust it with this variable:",
                "export GRPC_DEFAULT_SSL_ROOTS_FILE_PATH='/a place/root.pem'",
                "data directory",
            ],
        ),
    ],
)
def test_where_grpc_is_and_how_to_trust_it_is_shown(tmp_path, root, said):
    address = GrpcAddress(target="localhost:9443", root_file=root)

    lines = welcome("http://127.0.0.1:8000", Settings(data_dir=tmp_path), None, address).splitlines()

    shown = [line.strip() for line in lines[3:]]
    assert [line.startswith(part) for line, part in zip(shown, said, strict=False)] == [True] * len(said)
    assert "gRPC" not in welcome("http://127.0.0.1:8000", Settings(data_dir=tmp_path), None)


def test_a_server_without_credentials_says_so_loudly(tmp_path):
    settings = Settings(data_dir=tmp_path, no_auth=True)
    settings.key_file.write_text("tf_secret")

    text = welcome("http://127.0.0.1:8000", settings, None)

    assert "NO AUTHENTICATION (--no-auth)" in text
    assert "API key         none is asked for" in text
    assert "x-goog-api-key" not in text
    assert "NO AUTHENTICATION" not in welcome("http://127.0.0.1:8000", Settings(data_dir=tmp_path), None)


def test_with_a_log_in_json_the_welcome_is_a_record_without_the_key(tmp_path, caplog, capsys):
    caplog.set_level("INFO", logger="tuningfork")
    settings = Settings(data_dir=tmp_path, log_format="json")

    announce("http://127.0.0.1:8000", settings, "tf_secret", GrpcAddress(target="localhost:9443", root_file=None))

    [record] = caplog.records
    assert capsys.readouterr().out == ""
    assert (record.action, record.url, record.grpc) == ("started", "http://127.0.0.1:8000", "localhost:9443")
    assert record.key_file == str(settings.key_file)
    assert "tf_secret" not in str(record.__dict__)


def test_what_is_no_terminal_gets_no_key(tmp_path, capsys):
    announce("http://127.0.0.1:8000", Settings(data_dir=tmp_path), "tf_secret")

    assert "tf_secret" not in capsys.readouterr().out
