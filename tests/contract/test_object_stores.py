"""Training files in object stores, read by the libraries of the extra `buckets` from servers on this machine.

S3 is moto's, in a process and an environment of its own. Google Cloud Storage is the storage API of a second
Tuningfork, which gcsfs reads as it reads the hosted one. The server under test finds the libraries in an environment of
theirs.
"""

import json
import os
import signal
import subprocess
from contextlib import contextmanager
from uuid import uuid4

import httpx
import pytest

import live_server
from contract.conftest import PROGRAMS
from contract.environments import PythonEnvironment
from patience import PATIENCE_SECONDS, RUN_SECONDS, wait_until
from ports import free_port
from tuningfork.tutorial import EXAMPLES

LIBRARIES = PythonEnvironment("s3fs-2026.9.0")
MOTO = PythonEnvironment("moto-5.2.5")
JOBS = "/v1beta1/projects/lab-7/locations/us-central1/tuningJobs"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_EC2_METADATA_DISABLED": "true"}
SIDE_BYTES = 400_000
"""How much white space stands in a row of a large file, so that gcsfs reads it in several requests."""


def row_of(asked, said, *, spaces=0):
    contents = [{"role": "user", "parts": [{"text": asked}]}, {"role": "model", "parts": [{"text": said}]}]
    return json.dumps({"contents": contents}).encode() + b" " * spaces + b"\n"


SMALL = b"".join(row_of(*pair) for pair in EXAMPLES)
LARGE = b"".join(row_of(*pair, spaces=SIDE_BYTES) for pair in EXAMPLES)
FILES = {"small.jsonl": SMALL, "large.jsonl": LARGE, "d/validation.jsonl": SMALL}


class S3:
    """moto's server, which keeps its objects in memory: when it is started again, they are put there again."""

    def __init__(self, directory):
        self._directory = directory
        self._port = free_port()
        self._process = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self._port}"

    def start(self):
        command = MOTO.ready().command(PROGRAMS / "storage" / "s3_server.py", self._directory)
        environment = {"PATH": os.environ["PATH"], "HOME": str(self._directory), "PORT": str(self._port)}
        with (self._directory / "moto.log").open("ab") as output:
            self._process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        wait_until(self._answers, what="moto answers")
        with httpx.Client(base_url=self.url, timeout=PATIENCE_SECONDS) as client:
            client.put("/training").raise_for_status()
            for name, content in FILES.items():
                client.put(f"/training/{name}", content=content).raise_for_status()

    def stop(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def _answers(self):
        try:
            return httpx.get(f"{self.url}/moto-api/", timeout=PATIENCE_SECONDS).is_success
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """Which is there at the beginning of each test."""
    store = S3(tmp_path_factory.mktemp("moto"))
    store.start()
    yield store
    store.stop()


@pytest.fixture(scope="module")
def google(tmp_path_factory):
    """A second server with a bucket, which is to the server under test what Google Cloud Storage is."""
    variables = {"TUNINGFORK_STORAGE_WITHOUT_CREDENTIALS": "true"}
    with live_server.running(tmp_path_factory.mktemp("google"), variables=variables) as running:
        with running.client() as client:
            client.post("/storage/v1/b", json={"name": "samples"}).raise_for_status()
            for name, content in FILES.items():
                asked = {"uploadType": "media", "name": name}
                client.post("/upload/storage/v1/b/samples/o", params=asked, content=content).raise_for_status()
        yield running


@pytest.fixture(scope="module")
def reading(tmp_path_factory, s3, google):
    """The server under test."""
    [packages] = (LIBRARIES.ready().directory / "lib").glob("python*/site-packages")
    away = f"http://127.0.0.1:{free_port()}"
    stores = (
        f"s3://training={s3.url} s3://missing={s3.url} s3://away={away} gs://gone={away} "
        # The first is read under another name; the second is where the variable says by which emulators are found.
        f"gs://moved=s3://training={s3.url} gs://samples"
    )
    variables = {
        **CREDENTIALS,
        "STORAGE_EMULATOR_HOST": google.url,
        "PYTHONPATH": str(packages),
        "FSSPEC_GS_TOKEN": "anon",
        "TUNINGFORK_OBJECT_STORES": stores,
    }
    with live_server.running(tmp_path_factory.mktemp("reading"), variables=variables) as running:
        yield running


@pytest.fixture
def client(reading):
    with reading.client() as client:
        yield client


def create(client, uri, **fields):
    name = uuid4().hex[:8]
    spec = {"trainingDatasetUri": uri, "hyperParameters": {"epochCount": "1"}, **fields}
    body = {"baseModel": "gemini-1.5-flash-002", "supervisedTuningSpec": spec, "tunedModelDisplayName": name}
    return client.post(JOBS, json=body)


def created(client, uri, **fields):
    answer = create(client, uri, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def shown(client, job):
    return client.get(f"/v1beta1/{job['name']}").json()


def stage_of(client, job):
    """What our own API tells of it while it has not ended."""
    models = client.get("/v1beta/tunedModels", params={"pageSize": 1000}).json()["tunedModels"]
    [name] = [each["name"] for each in models if each["displayName"] == job["tunedModelDisplayName"]]
    return client.get(f"/tuningfork/v1/{name}/stage").json()


def ended(client, job):
    wait_until(
        lambda: shown(client, job)["state"] in ("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED"),
        what="the job has ended",
        every=0.5,
    )
    return shown(client, job)


@contextmanager
def without(store):
    """The store is away within the `with` block."""
    store.stop()
    try:
        yield
    finally:
        store.start()


@pytest.mark.parametrize("bucket", ["s3://training", "gs://moved", "gs://samples"])
def test_a_job_is_trained_on_files_that_are_read_in_one_request_and_in_several(client, bucket):
    job = ended(client, created(client, f"{bucket}/large.jsonl", validationDatasetUri=f"{bucket}/d/validation.jsonl"))

    assert job["state"] == "JOB_STATE_SUCCEEDED", job
    stats = job["tuningDataStats"]["supervisedTuningDataStats"]
    assert stats["tuningDatasetExampleCount"] == str(len(EXAMPLES))


@pytest.mark.parametrize(
    ("uri", "status", "said"),
    [
        ("s3://training/none.jsonl", 404, "No such object: training/none.jsonl"),
        ("s3://missing/small.jsonl", 404, "No such object: missing/small.jsonl"),
        ("gs://samples/none.jsonl", 404, "No such object: samples/none.jsonl"),
        ("s3://not-named/small.jsonl", 400, "This server does not read s3://not-named"),
        ("s3://away/small.jsonl", 503, "The object store of s3://away cannot be read at the moment"),
        ("gs://gone/small.jsonl", 503, "gs://gone"),
    ],
)
def test_what_cannot_be_read_is_told_before_a_job_is_accepted(client, uri, status, said):
    answer = create(client, uri)

    assert answer.status_code == status, answer.text
    assert said in answer.json()["error"]["message"]
    listed = client.get(JOBS, params={"pageSize": 1000}).json().get("tuningJobs", [])
    assert uri not in {job["supervisedTuningSpec"]["trainingDatasetUri"] for job in listed}


def test_a_job_waits_while_its_store_is_away_and_goes_on_when_it_is_there_again(client, s3):
    job, other = created(client, "s3://training/small.jsonl"), created(client, "s3://training/small.jsonl")
    with without(s3):
        told = wait_until(
            lambda: stage_of(client, job).get("heldUpBy"), what="the job says that it waits", seconds=RUN_SECONDS
        )
        held = shown(client, job)
        client.post(f"/v1beta1/{other['name']}:cancel").raise_for_status()
        cancelled = ended(client, other)

    # It does not answer, or not within the time that a preparer may wait for bytes.
    assert "object store" in told
    assert held["state"] == "JOB_STATE_PENDING"
    assert cancelled["state"] == "JOB_STATE_CANCELLED"
    assert ended(client, job)["state"] == "JOB_STATE_SUCCEEDED"
