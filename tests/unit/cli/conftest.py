"""Commands run in this process, as a person would type them, against a server that speaks the dialect."""

import sys
from dataclasses import dataclass

import pytest

import dialect_service
from tuningfork.cli import main


@dataclass(frozen=True)
class Ended:
    code: int
    output: str
    errors: str


@pytest.fixture(scope="session")
def running_service():
    with dialect_service.running() as running:
        yield running


@pytest.fixture
def service(running_service):
    running_service.forget()
    return running_service


@pytest.fixture
def become_terminal(monkeypatch):
    """Makes standard output, or another stream, a terminal as far as a program can ask, and one without colours."""

    def become(stream=None):
        monkeypatch.setattr(stream or sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("NO_COLOR", "1")

    return become


@pytest.fixture
def tuningfork(service, capsys, monkeypatch, tmp_path):
    """Run one command against the service, with its key unless another is set."""
    monkeypatch.setenv("TUNINGFORK_URL", service.url)
    monkeypatch.setenv("TUNINGFORK_API_KEY", dialect_service.KEY)
    monkeypatch.setenv("TUNINGFORK_DATA_DIR", str(tmp_path / "no-data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ended(ended.value.code or 0, captured.out, captured.err)

    return run
