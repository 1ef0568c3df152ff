"""The Vertex AI SDK, unmodified, over REST: an old release and the newest one.

Address and transport are arguments of `vertexai.init`; credentials are those that it finds by itself.
"""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

import live_server
from contract.environments import PythonEnvironment
from patience import wait_until
from tuningfork.tutorial import EXAMPLES
from vertex_programs import ADC_LOGIN, SERVICE_ACCOUNT, training_files_of, vertex_variables_of

PARENT = r"projects/lab-7/locations/us-central1"


@pytest.fixture(
    params=[PythonEnvironment("vertexai-2.7.0"), PythonEnvironment("vertexai-1.71.1")], ids=lambda client: client.name
)
def client(request):
    return request.param


@pytest.fixture(scope="module")
def tuned_jobs():
    """The names of the jobs that a client has tuned in this module, by the client's name."""
    return {}


def test_a_job_is_tuned_followed_and_called(vertex_told, client, training_files, tuned_jobs):
    tuned = vertex_told(client, "vertex/vertexai_tune.py", DISPLAY_NAME=f"Counts {client.name}", **training_files)

    assert tuned["error"] == ""
    assert re.fullmatch(rf"{PARENT}/tuningJobs/\d{{1,19}}", tuned["name"])
    assert tuned["states"][0] == "JOB_STATE_PENDING"
    assert set(tuned["states"]) <= {"JOB_STATE_PENDING", "JOB_STATE_RUNNING", "JOB_STATE_SUCCEEDED"}
    assert tuned["states"][-1] == "JOB_STATE_SUCCEEDED"
    assert tuned["same"]
    assert tuned["name"] in tuned["listed"]
    assert re.fullmatch(rf"{PARENT}/models/\d{{1,19}}@1", tuned["tuned_model"])
    assert re.fullmatch(rf"{PARENT}/endpoints/\d{{1,19}}", tuned["endpoint"])
    tuned_jobs[client.name] = tuned["name"]

    assert tuned["answer"] == "".join(tuned["pieces"])
    assert tuned["answer"]
    assert 0 < tuned["counted"] < tuned["usage"]
    assert tuned["registered"][0] == f"Counts {client.name}"
    assert tuned["registered"][1] == "1"
    assert "default" in tuned["registered"][2]
    assert tuned["deployed"] == [tuned["tuned_model"]]


def test_what_a_job_was_told_and_resolved_is_in_its_dictionary(vertex_told, client, training_files):
    tuned = vertex_told(client, "vertex/vertexai_tune.py", DISPLAY_NAME="Counts", **training_files)
    begun, ended = tuned["begun"], tuned["ended"]

    for job in (begun, ended):
        assert job["baseModel"] == "gemini-1.5-flash-002"
        assert job["tunedModelDisplayName"] == "Counts"
        assert job["labels"] == {"team": "counting"}
        spec = job["supervisedTuningSpec"]
        assert spec["trainingDatasetUri"] == training_files["TRAIN"]
        assert spec["validationDatasetUri"] == training_files["VALIDATION"]
        assert spec["hyperParameters"]["epochCount"] == "3"
        assert spec["hyperParameters"]["learningRateMultiplier"] == 1
    assert begun["createTime"] <= ended["startTime"] <= ended["endTime"]
    statistics = ended["tuningDataStats"]["supervisedTuningDataStats"]
    assert statistics["tuningDatasetExampleCount"] == "15"
    assert int(statistics["totalBillableTokenCount"]) > 0
    assert int(statistics["tuningStepCount"]) > 0


def test_a_job_learns_from_files_that_were_uploaded(vertex_told, client):
    pairs = json.dumps(EXAMPLES)
    uploaded = vertex_told(client, "vertex/upload.py", BUCKET=f"python-{uuid4().hex[:8]}", PAIRS=pairs)
    assert (uploaded["same"], uploaded["there"], uploaded["elsewhere"]) == (True, True, False)
    training, validation = uploaded["uris"]

    tuned = vertex_told(
        client, "vertex/vertexai_tune.py", DISPLAY_NAME="Uploaded", TRAIN=training, VALIDATION=validation
    )

    assert tuned["states"][-1] == "JOB_STATE_SUCCEEDED", tuned["error"]


def test_a_long_job_is_cancelled_and_wrong_ones_are_refused(vertex_told, client, training_files):
    told = vertex_told(client, "vertex/vertexai_cancel.py", **training_files)

    assert (told["state"], told["error"], told["succeeded"]) == ("JOB_STATE_CANCELLED", 1, False)
    adapter, uri, base = told["refused"]
    assert adapter[:2] == ["BadRequest", 400]
    assert adapter[2].endswith(": The adapter size is not supported for this base model.")
    assert uri[1] == 400
    assert "tuning_job.supervised_tuning_spec.training_dataset_uri" in uri[2]
    assert "training_dataset_uri should be a GCS object of type JSONL." in uri[2]
    assert base[1] == 400
    assert base[2].endswith(": Base model gemini-9 is not supported")


def test_the_notebooks_read_the_metrics_of_a_job(vertex_told, client, training_files, tuned_jobs):
    if client.name not in tuned_jobs:
        tuned = vertex_told(client, "vertex/vertexai_tune.py", DISPLAY_NAME="Counts", **training_files)
        tuned_jobs[client.name] = tuned["name"]

    read = vertex_told(client, "vertex/vertexai_metrics.py", JOB=tuned_jobs[client.name])

    assert set(read) == {
        f"/{kind}_{metric}"
        for kind in ("train", "eval")
        for metric in ("total_loss", "fraction_of_correct_next_step_preds", "num_predictions")
    }
    steps, losses = read["/train_total_loss"]
    assert steps == sorted(steps)
    assert losses[-1] < losses[0]
    for metric, (steps, values) in read.items():
        assert len(steps) == len(values) > 0, metric
    assert all(0 <= share <= 1 for share in read["/train_fraction_of_correct_next_step_preds"][1])


@pytest.mark.parametrize("command", [ADC_LOGIN, SERVICE_ACCOUNT], ids=["refresh token", "service account"])
def test_a_loop_of_refreshes_outlives_a_restart_of_the_server(told, client, tmp_path, command):
    client.ready()
    with live_server.running(tmp_path / "server") as server, ThreadPoolExecutor(1) as beside:
        credentials = vertex_variables_of(server, tmp_path, command=command)
        variables = {**credentials, **training_files_of(server), "EPOCHS": "20"}
        waiting = beside.submit(told, client, "vertex/vertexai_wait.py", **variables)
        path = "/v1/projects/lab-7/locations/us-central1/tuningJobs"

        def states():
            with server.client() as api:
                return [job["state"] for job in api.get(path).json().get("tuningJobs", [])]

        wait_until(lambda: states() == ["JOB_STATE_RUNNING"] or waiting.done(), what="the job is trained")
        before = states()
        server.stop()
        server.start()
        ended = waiting.result()

    assert before == ["JOB_STATE_RUNNING"]
    assert ended["state"] == "JOB_STATE_SUCCEEDED"
    assert ended["endpoint"]
