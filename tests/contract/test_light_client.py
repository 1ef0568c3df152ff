"""Our own client, installed as our users install it: without extras, in an environment of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from contract.environments import PythonEnvironment

ROOT = Path(__file__).parents[2]
BUILDER = PythonEnvironment("hatchling-1.33.0")
CLIENT = PythonEnvironment("tuningfork-client")


def run(*command, **variables):
    return subprocess.run(
        [str(word) for word in command],
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The interpreter of an environment in which our package is installed, as a wheel, beside its base dependencies."""
    directory = tmp_path_factory.mktemp("client")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python")
    built = run(
        *(*pip, BUILDER.ready().directory / "bin" / "python", "wheel", "--no-deps", "--no-build-isolation"),
        *("--wheel-dir", directory / "wheel", ROOT),
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = (directory / "wheel").iterdir()
    # A copy: the kept environment stays as its pins describe it.
    environment = shutil.copytree(CLIENT.ready().directory, directory / "environment", symlinks=True)
    python = environment / "bin" / "python"
    done = run(*pip, python, "install", "--no-deps", "--no-index", wheel)
    assert done.returncode == 0, done.stderr
    # All that the package asks for is there, in versions that it takes.
    checked = run(*pip, python, "check")
    assert checked.returncode == 0, checked.stdout
    return python


@pytest.fixture
def command(installed, server, tmp_path):
    """Runs `tuningfork` there, as somebody who has the address and the key of a server elsewhere."""

    def command(*words):
        variables = {"HOME": str(tmp_path), "TUNINGFORK_URL": server.url, "TUNINGFORK_API_KEY": server.key}
        return run(installed, "-I", "-m", "tuningfork", *words, **variables)

    return command


def test_there_is_no_torch_and_nothing_of_a_server(installed):
    found = run(
        installed,
        "-I",
        "-c",
        "import tuningfork, importlib.util as u; print(*map(u.find_spec, ('torch', 'numpy', 'sqlalchemy')))",
    )

    assert found.stdout.split() == ["None", "None", "None"], found.stderr


def test_it_tunes_lists_asks_exports_and_deletes(command, tmp_path):
    (tmp_path / "pairs.csv").write_text("text_input,output\n" + "".join(f"{n},{n + 1}\n" for n in range(1, 17)))

    tuned = command("tune", tmp_path / "pairs.csv", "--display-name", "from a light client")
    name = tuned.stdout.strip()

    assert tuned.returncode == 0, tuned.stderr
    assert name in command("models").stdout
    assert name in command("jobs").stdout
    assert command("generate", name, "20").stdout.strip()
    assert command("export", name, "--to", tmp_path / "adapter").returncode == 0
    assert (tmp_path / "adapter" / "adapter_model.safetensors").exists()
    assert command("delete", name, "--yes").returncode == 0


def test_a_servers_command_says_what_to_install(command):
    refused = command("serve")

    assert refused.returncode == 1
    assert "pip install 'tuningfork[server]'" in refused.stderr
    assert "Traceback" not in refused.stderr
