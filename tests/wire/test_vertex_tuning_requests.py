"""Every request for tuning jobs that unmodified clients were recorded sending, answered.

Numbers of the recordings are replaced by those of what exists here, and base models by the one that is here. What is
refused is refused by name. Answers are compared with the schemas of the discovery document.
"""

import json
import re
from pathlib import Path

import pytest

from bucket_tunings import ROWS, tunings_over
from caller import caller_of
from published_schemas import PublishedSchemas
from tuningfork.api.google.form import GoogleForm
from tuningfork.dialect.vertex.table import VertexUseCases, vertex
from tuningfork.wire.vertex.errors import VERTEX_ERRORS
from vertex_serving import serving_of
from workshop import ADA

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "vertex" / "tuning_requests.json").read_text("utf-8"))
SCHEMAS = PublishedSchemas(RECORDED["schemas"])
PARENT = "/v1beta1/projects/p/locations/us-central1/tuningJobs"
TUNING = {"supervisedTuningSpec": {"trainingDatasetUri": "gs://bk/t.jsonl"}}
EXCLUDED = (
    (r"distillationSpec", 400, "DISTILLATION"),
    (r"reinforcementTuningSpec", 400, "REINFORCEMENT_TUNING"),
    (r"preferenceOptimizationSpec", 400, "PREFERENCE_TUNING"),
    (r'"tuningMode": 1', 400, "TUNING_MODE_FULL"),
    (r"customBaseModel", 400, "custom_base_model"),
    (r"outputUri", 400, "output_uri"),
    (r"/datasets/", 400, "should be a GCS object of type JSONL"),
    (r'"trainingDatasetUri": "t.jsonl"', 400, "should be a GCS object of type JSONL"),
    (r'"pointwise_metric_spec": \{', 400, "pointwise_metric_spec"),
    (r'"adapterSize": 5', 400, "The adapter size is not supported for this base model"),
    (r"pageToken=t1", 400, "page_token"),
    (r":rebaseTunedModel", 501, "create, get, list and cancel only"),
    (r"tuningJobs/9\b", 404, "The TuningJob does not exist"),
    (r"locations/local/tuningJobs/", 404, "The TuningJob does not exist"),
)
"""Which requests are refused, by a part of them, and with which status and words."""


@pytest.fixture
def tunings(workshop, tmp_path):
    (tmp_path / "bucket").mkdir()
    tunings = tunings_over(workshop, tmp_path / "bucket")
    for name in ("t", "v", "p"):
        tunings.write(f"{name}.jsonl", ROWS)
    yield tunings
    tunings.preparer.close()


@pytest.fixture
def caller(tunings):
    use_cases = VertexUseCases(jobs=tunings.jobs, serving=serving_of(tunings.workshop))
    return caller_of(tunings.workshop, further=(vertex(use_cases, GoogleForm(VERTEX_ERRORS)),))


@pytest.fixture
def job(tunings, caller):
    """A job that has ended well."""
    key = str(tunings.workshop.access.create_key("any", ADA.email, "local").key)
    made = caller.call("POST", PARENT, json.loads(here(json.dumps({"baseModel": "x", **TUNING}), {})), key=key)
    assert made.status_code == 200, made.text
    tunings.train()
    return caller.get(f"/v1beta1/{made.json()['name']}", key=key).json() | {"key": key}


def here(text, job):
    """A target or a body with the names of what exists here."""
    text = re.sub(r"gs://bk?/", "gs://shared/", text)
    text = re.sub(r'"baseModel": "(x|quota|gemini-[^"]*)"', '"baseModel": "gemini-1.5-flash-002"', text)
    text = text.replace("@qwen3-8b", "@echo-001").replace("@llama-3.1-8b", "@echo-001")
    if job:
        text = re.sub(r"tuningJobs/1001", f"tuningJobs/{job['name'].rpartition('/')[2]}", text)
        text = text.replace("projects/p/locations/us-central1/models/111@1", job["tunedModel"]["model"])
    return text


def test_every_recorded_request_is_answered_by_the_schema_or_refused_by_name(caller, job):
    refused = set()
    for request in RECORDED["requests"]:
        target, body = here(request["target"], job), here(json.dumps(request["body"]), job)
        answer = caller.call(request["method"], target, json.loads(body), key=job["key"])

        told = (request["clients"], request["call"], target, body, answer.text[:400])
        sent = f"{request['target']} {json.dumps(request['body'])}"
        rule = next((rule for rule in EXCLUDED if re.search(rule[0], sent)), None)
        assert answer.status_code == (200 if rule is None else rule[1]), told
        if rule is not None:
            assert rule[2] in answer.text, told
            refused.add(rule)
        elif target.partition("?")[0].endswith(":cancel"):
            assert answer.json() == {}, told
        else:
            is_list = request["method"] == "GET" and target.partition("?")[0].endswith("tuningJobs")
            name = "ListTuningJobsResponse" if is_list else "TuningJob"
            assert SCHEMAS.faults(name, answer.json()) == [], told
    assert refused == set(EXCLUDED)


def test_a_job_that_has_ended_shows_all_that_clients_read(job):
    shown = {key: value for key, value in job.items() if key != "key"}
    assert SCHEMAS.faults("TuningJob", shown) == []
    assert {"tunedModel", "tuningDataStats", "experiment", "startTime", "endTime", "tuningJobMetadata"} <= shown.keys()
