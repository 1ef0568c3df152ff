"""A live server, people who know it, and other people's clients, each a child process in an environment of its own."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

import live_server
from patience import PATIENCE_SECONDS, wait_until
from ports import free_port
from tuningfork.tutorial import EXAMPLES
from vertex_programs import training_files_of, vertex_variables_of

PROGRAMS = Path(__file__).parent / "programs"
PROGRAM_SECONDS = 300
GEMINI_BASE = "models/gemini-1.5-flash-001-tuning"


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.contract)
            # The first one installs its client.
            item.add_marker(pytest.mark.timeout(1_800))


@pytest.fixture(scope="session")
def grpc_port():
    return free_port()


@pytest.fixture(scope="session")
def server(tmp_path_factory, grpc_port):
    """One server for all stories of a test process; they tell their models apart by name."""
    with live_server.running(tmp_path_factory.mktemp("server"), "--grpc-port", str(grpc_port)) as running:
        yield running


@pytest.fixture
def run(server, tmp_path):
    """Runs a program in a client's environment; what it printed.

    It gets the key and the URL under the names that SDKs read by themselves, and whatever else a story names.
    """

    def run(environment, program, *, key=None, **variables):
        directory = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        directory.mkdir()
        ended = subprocess.run(
            environment.ready().command(PROGRAMS / program, directory),
            cwd=directory,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(directory),
                "GOOGLE_API_KEY": key or server.key,
                "GOOGLE_GEMINI_BASE_URL": server.url,
                **variables,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=PROGRAM_SECONDS,
        )
        if ended.returncode != 0:
            pytest.fail(f"{program} with {environment.name}:\n{ended.stdout}\n{ended.stderr[-6000:]}", pytrace=False)
        return ended.stdout

    return run


@pytest.fixture
def told(run):
    """Runs a program that prints one JSON object in its last line: that object."""
    return lambda environment, program, **options: json.loads(run(environment, program, **options).splitlines()[-1])


@pytest.fixture(scope="session")
def operator_environment(server, tmp_path_factory):
    """The variables of a shell on the server's machine, whose logins are remembered nowhere else."""
    return {**server.environment, "XDG_CONFIG_HOME": str(tmp_path_factory.mktemp("config"))}


@pytest.fixture(scope="session")
def operate(operator_environment):
    """Runs one of Tuningfork's commands there; what it printed."""

    def operate(*command):
        ended = subprocess.run(
            [sys.executable, "-m", "tuningfork", *command],
            env=operator_environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE_SECONDS,
        )
        return ended.stdout.strip()

    return operate


@pytest.fixture(scope="session")
def person(server, operate):
    """A client of the API that is somebody: `person("ada@example.com")`."""

    @cache
    def person(email):
        key = operate("keys", "create", "--email", email, "--name", "contract")
        client = httpx.Client(base_url=server.url, headers={"x-goog-api-key": key}, timeout=PATIENCE_SECONDS)
        return opened.enter_context(client)

    with ExitStack() as opened:
        yield person


@pytest.fixture(scope="session")
def access_token(operate):
    """What the tutorial takes from gcloud."""
    return operate("auth", "print-access-token")


@pytest.fixture(scope="session")
def counting(server):
    """The name of a model that counts, tuned on the tutorial's pairs from a base under Gemini's name."""
    with server.client() as client:
        return tuned(client, "counting", GEMINI_BASE)


@pytest.fixture(scope="session")
def own_counting(server):
    """The same, from the base model under its own name, which has fewer limits."""
    with server.client() as client:
        return tuned(client, "own-counting", "models/tuningfork-mini-001")


@pytest.fixture
def short_and_long_run(server, client):
    """The names of a model for one story, and of one whose run has begun and takes longer than the story.

    The story's `client` is ready before, since installing it may take longer than the run.
    """
    client.ready()
    mark = uuid4().hex[:8]
    with server.client() as api:
        short = tuned(api, f"short-{mark}", GEMINI_BASE, epoch_count=1)
        long = begun(api, f"long-{mark}", GEMINI_BASE, epoch_count=1000, batch_size=1)
        wait_until(
            lambda: api.get(f"/v1beta/{long}").json()["tuningTask"].get("snapshots"),
            what=f"{long} takes its first step",
        )
    return short, long


def begun(client, model_id, base, *, epoch_count=5, batch_size=4):
    """The name of a model whose run has been accepted: the tutorial's pairs and rate, and its batches unless told."""
    examples = [{"textInput": text_input, "output": output} for text_input, output in EXAMPLES]
    body = {
        "displayName": model_id.replace("-", " "),
        "baseModel": base,
        "tuningTask": {
            "hyperparameters": {"batchSize": batch_size, "learningRate": 0.001, "epochCount": epoch_count},
            "trainingData": {"examples": {"examples": examples}},
        },
    }
    answer = client.post("/v1beta/tunedModels", params={"tunedModelId": model_id}, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["metadata"]["tunedModel"]


def tuned(client, model_id, base, *, epoch_count=5):
    """The same, when its run has ended well."""
    name = begun(client, model_id, base, epoch_count=epoch_count)
    wait_until(
        lambda: client.get(f"/v1beta/{name}").json()["state"] != "CREATING",
        what=f"{name} is tuned",
    )
    assert client.get(f"/v1beta/{name}").json()["state"] == "ACTIVE"
    return name


@pytest.fixture(scope="session")
def answer_of(server):
    """What the API itself answers to a prompt, to which no client may add and from which none may take."""

    def answer_of(model, prompt):
        with server.client() as client:
            body = {"contents": [{"parts": [{"text": prompt}]}]}
            answer = client.post(f"/v1beta/{model}:generateContent", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["candidates"][0]["content"]["parts"][0]["text"]

    return answer_of


@pytest.fixture(scope="session")
def vertex_variables(server, tmp_path_factory):
    """Those of programs that call the server of all stories."""
    return vertex_variables_of(server, tmp_path_factory.mktemp("credentials"))


@pytest.fixture
def programs():
    """The directory of the programs."""
    return PROGRAMS


@pytest.fixture
def vertex_told(told, vertex_variables):
    """Runs a program for Vertex AI; the JSON object in its last line."""
    return lambda client, program, **variables: told(client, program, **{**vertex_variables, **variables})


@pytest.fixture(scope="session")
def training_files(server):
    """The training files of the server of all stories."""
    return training_files_of(server)
