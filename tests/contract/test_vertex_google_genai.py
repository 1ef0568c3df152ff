"""google-genai in Vertex AI mode, unmodified: the release that most code has, and the newest one."""

import re

import pytest

from contract.environments import PythonEnvironment

PARENT = r"projects/lab-7/locations/us-central1"


@pytest.fixture(
    params=[PythonEnvironment("google-genai-3.6.1"), PythonEnvironment("google-genai-1.46.0")],
    ids=lambda client: client.name,
)
def client(request):
    return request.param


def test_a_job_is_tuned_followed_and_called(vertex_told, client, training_files):
    tuned = vertex_told(client, "vertex/genai_tune.py", DISPLAY_NAME=f"Counts {client.name}", **training_files)

    assert tuned["error"] is None
    assert re.fullmatch(rf"{PARENT}/tuningJobs/\d{{1,19}}", tuned["name"])
    assert tuned["short"] == tuned["name"]
    assert tuned["states"][0] == "JOB_STATE_PENDING"
    assert set(tuned["states"]) <= {"JOB_STATE_PENDING", "JOB_STATE_RUNNING", "JOB_STATE_SUCCEEDED"}
    assert tuned["states"][-1] == "JOB_STATE_SUCCEEDED"
    assert tuned["base_model"] == "gemini-1.5-flash-002"
    assert tuned["in_order"]
    assert tuned["examples"] == 15
    assert re.fullmatch(rf"{PARENT}/models/\d{{1,19}}@1", tuned["tuned_model"])
    assert re.fullmatch(rf"{PARENT}/endpoints/\d{{1,19}}", tuned["endpoint"])

    assert tuned["text"] == "".join(tuned["pieces"])
    assert tuned["text"]
    assert tuned["thoughtless"]
    assert tuned["finish_reason"] == "STOP"
    assert tuned["counted"] > 0
    assert sum(tuned["computed"]) > 0


def test_checkpoints_have_endpoints_and_the_default_one_can_be_changed(vertex_told, client, training_files):
    tuned = vertex_told(client, "vertex/genai_tune.py", DISPLAY_NAME="Checkpoints", **training_files)
    name = tuned["tuned_model"].partition("@")[0]

    assert tuned["model"][0].partition("@")[0] == name
    assert tuned["model"][1:] == ["Checkpoints", "gemini-1.5-flash-002"]
    assert name in [each.partition("@")[0] for each in tuned["found"]]
    assert [checkpoint[0] for checkpoint in tuned["checkpoints"]] == ["1", "2", "3"]
    endpoints = [checkpoint[3] for checkpoint in tuned["checkpoints"]]
    assert len(set(endpoints)) == 3
    assert tuned["endpoint"] == endpoints[-1]
    assert tuned["of_checkpoints"][-1] == tuned["text"]
    assert tuned["default"] == "1"
    assert tuned["moved"] == endpoints[0]
    assert tuned["renamed"] == ["Renamed", "Counts."]


def test_jobs_are_listed_over_pages_cancelled_and_refused(vertex_told, client, training_files):
    managed = vertex_told(client, "vertex/genai_manage.py", BUCKET="counting-files", **training_files)

    # Newest first, over at least three pages.
    assert [name for name in managed["listed"] if name in managed["names"]] == managed["names"][::-1]
    assert set(managed["elsewhere"]).isdisjoint(managed["names"])
    assert managed["states"] == [["JOB_STATE_CANCELLED", 1]] * 3
    assert set(managed["names"]) <= set(managed["cancelled"])

    refused = managed["refused"]
    supported = "The adapter size is not supported for this base model."
    assert refused["adapter"] == [400, "INVALID_ARGUMENT", supported]
    assert refused["uri"][:2] == [400, "INVALID_ARGUMENT"]
    assert "training_dataset_uri should be a GCS object of type JSONL." in refused["uri"][2]
    assert refused["missing"][0] == 404
    assert refused["base"] == [400, "INVALID_ARGUMENT", "Base model gemini-9 is not supported"]
    for wrong in ("job", "location"):
        assert refused[wrong] == [404, "NOT_FOUND", "The TuningJob does not exist."]
    assert refused["endpoint"][:2] == [404, "NOT_FOUND"]
