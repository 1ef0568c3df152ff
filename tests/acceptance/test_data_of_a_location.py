"""Real processes keep all files of a location's jobs below its directory: while they train, after kills and backups."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from live_server import LiveServer
from patience import RUN_SECONDS, paths_below, wait_until
from row_files import row_of

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(1_200)]

CANARY = "zirkon"
"""A word of the examples, which is nowhere else."""
JOBS = "/v1/projects/p/locations/europe-west4/tuningJobs"
KINDS = {"datasets", "work", "checkpoints", "adapters", "manifests", "set-aside"}


@pytest.fixture
def server(tmp_path):
    for name in ("europe", "bucket"):
        (tmp_path / name).mkdir()
    rows = [row_of(f"{CANARY} {number}", f"{CANARY} {number + 1}") for number in range(40)]
    (tmp_path / "bucket" / "t.jsonl").write_bytes(b"\n".join(rows))
    variables = {
        "TUNINGFORK_REGIONS": f"europe-west4={tmp_path / 'europe'}",
        "TUNINGFORK_BUCKETS": f"shared={tmp_path / 'bucket'}",
        "TUNINGFORK_SAVEPOINT_EVERY": "3",
    }
    server = LiveServer(tmp_path, variables=variables)
    server.start()
    yield server
    server.stop()


def leaks(directory):
    """Every file outside of the location's directory that quotes an example or is one of a job's."""
    found = []
    for folder, _, names in os.walk(directory):
        for path in (Path(folder, name) for name in names):
            parts = path.relative_to(directory).parts
            if parts[0] in ("europe", "bucket") or path.is_symlink():
                continue
            try:
                quotes = CANARY.encode() in path.read_bytes()
            except FileNotFoundError:
                continue
            if quotes or KINDS.intersection(parts):
                found.append(str(path.relative_to(directory)))
    return found


def has_savepoint(root):
    return any(path.parent.name == "savepoints" for path in paths_below(root))


def create(client, epochs):
    spec = {"trainingDatasetUri": "gs://shared/t.jsonl", "hyperParameters": {"epochCount": epochs}}
    body = {"baseModel": "gemini-1.5-flash-002", "supervisedTuningSpec": spec}
    return client.post(JOBS, json=body).raise_for_status().json()["name"]


def shown(client, name):
    return client.get(f"/v1beta1/{name}").raise_for_status().json()


def test_files_of_a_locations_jobs_never_leave_its_directory(server, tmp_path):
    with server.client() as client:
        made, cancelled = create(client, 4), create(client, 400)
        root = tmp_path / "europe"
        wait_until(lambda: has_savepoint(root), what="a savepoint", seconds=RUN_SECONDS)
        assert leaks(tmp_path) == []
        server.stop(signal.SIGKILL)
        server.start()
        wait_until(lambda: shown(client, made)["state"] == "JOB_STATE_SUCCEEDED", seconds=RUN_SECONDS, every=0.2)
        assert len(shown(client, made)["tunedModel"]["checkpoints"]) == 4
        client.post(f"/v1/{cancelled}:cancel").raise_for_status()
        wait_until(lambda: shown(client, cancelled)["state"] == "JOB_STATE_CANCELLED", seconds=RUN_SECONDS, every=0.2)

        endpoint = shown(client, made)["tunedModel"]["endpoint"]
        body = {"contents": [{"role": "user", "parts": [{"text": "1"}]}], "generationConfig": {"maxOutputTokens": 4}}
        assert client.post(f"/v1/{endpoint}:generateContent", json=body).is_success
        assert leaks(tmp_path) == []
        assert any(root.glob("*/checkpoints/*/*/adapter_model.safetensors"))
        command = [sys.executable, "-m", "tuningfork", "backup", "--to", str(tmp_path / "backup")]
        done = subprocess.run(command, env=server.environment, capture_output=True, text=True, check=True)
        assert "Not in the backup are the files of 2 jobs" in done.stdout + done.stderr
        assert leaks(tmp_path) == []
