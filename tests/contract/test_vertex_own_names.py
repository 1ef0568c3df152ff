"""Samples of Google's documentation whose code names no server: Google's host names lead to ours."""

import json
import os
import subprocess

import pytest

import google_names
from contract.environments import PythonEnvironment
from patience import PATIENCE_SECONDS


@pytest.fixture(scope="module")
def names(server, tmp_path_factory):
    if reason := google_names.refusal():
        pytest.skip(reason)
    port = int(server.url.rpartition(":")[2])
    with google_names.leading_to(port, tmp_path_factory.mktemp("names")) as names:
        yield names


@pytest.mark.parametrize(
    ("client", "program"),
    [
        (PythonEnvironment("google-genai-3.6.1"), "sample_genai.py"),
        (PythonEnvironment("google-genai-1.46.0"), "sample_genai.py"),
        (PythonEnvironment("vertexai-2.7.0"), "sample_vertexai.py"),
    ],
    ids=["google-genai-3.6.1", "google-genai-1.46.0", "vertexai-2.7.0"],
)
def test_a_sample_that_names_no_server_reaches_this_one(
    names, client, program, programs, vertex_variables, training_files, tmp_path
):
    """Its file of credentials, three variables of Google's, and the laboratory's CA are all that it is told."""
    told = {name: value for name, value in vertex_variables.items() if name.startswith("GOOGLE_") and value}
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TRAIN": training_files["TRAIN"],
        "GOOGLE_GENAI_USE_VERTEXAI": "True",
        "SSL_CERT_FILE": str(names.ca),
        "REQUESTS_CA_BUNDLE": str(names.ca),
    }

    ended = subprocess.run(
        names.command(client.ready().command(programs / "vertex" / program, tmp_path)),
        env={**variables, **told},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )

    assert ended.returncode == 0, ended.stderr[-4000:]
    tuned = json.loads(ended.stdout.splitlines()[-1])
    assert tuned["state"] == "JOB_STATE_SUCCEEDED"
    assert tuned["endpoint"].startswith("projects/lab-7/locations/us-central1/endpoints/")
    assert tuned["text"]
