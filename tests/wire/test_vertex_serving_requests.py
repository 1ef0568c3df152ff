"""Every request for models, endpoints, text and metrics that unmodified clients were recorded sending, answered.

Names of the recordings (`endpoints/333`, `models/111`, ...) are replaced by those of a model that exists here. Answers
are compared with the schemas of the discovery document: no field is there that it lacks, and each has its type.
"""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from published_schemas import PublishedSchemas
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.store import schema
from vertex_serving import keep_early, serving_caller, train_on
from workshop import ADA, number_request

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "vertex" / "serving_requests.json").read_text("utf-8"))
REQUESTS = RECORDED["requests"]
SCHEMAS = PublishedSchemas(RECORDED["schemas"])
BASES = r"gemini-1\.5-flash-002|gemini-2\.0-flash-001|gemini-2\.5-flash|qwen3|text-embedding-005"

ANSWERS = (
    (r"[gG]enerateContent", "GenerateContentResponse"),
    (r":countTokens", "CountTokensResponse"),
    (r":computeTokens", "ComputeTokensResponse"),
    (r"DELETE .*", "GoogleLongrunningOperation"),
    (r":undeployModel", "GoogleLongrunningOperation"),
    (r"/models/\d+(@1)?$", "Model"),
    (r"locations/[^/]+/models$", "ListModelsResponse"),
    (r"/endpoints/\d+$", "Endpoint"),
    (r"/endpoints$", "ListEndpointsResponse"),
    (r"/contexts/[^/]+$", "Context"),
    (r"/contexts$", "ListContextsResponse"),
    (r"/tensorboards/\d+$", "Tensorboard"),
    (r"/runs/[^/]+$", "TensorboardRun"),
    (r"/timeSeries$", "ListTensorboardTimeSeriesResponse"),
    (r":batchRead", "BatchReadTensorboardTimeSeriesDataResponse"),
)
"""The schema of the answer to requests whose verb and path end so."""


@pytest.fixture
def caller(workshop):
    return serving_caller(workshop)


class Made:
    """The model in project `p` and location `us-central1`, made again whenever a request has deleted it."""

    def __init__(self, caller):
        self.caller = caller
        self.key = str(caller.workshop.access.create_key("p's", ADA.email, "p").key)
        self.count = 0

    def numbers(self):
        """The number of the model's job, and of the endpoint of its last checkpoint."""
        workshop = self.caller.workshop
        if not self.count or not self.listed("models"):
            self.count += 1
            model_id = TunedModelId(f"m{self.count}")
            request = number_request(tuned_model_id=model_id, base_model="models/echo-001")
            workshop.tuning.create(replace(ADA, project="p"), request)
            with workshop.database.write() as connection:
                change = schema.tuned_models.update().where(schema.tuned_models.c.id == model_id)
                connection.execute(change.values(location="us-central1"))
            keep_early(workshop, model_id)
            train_on(workshop)
        number = workshop.tuning.get(ADA, TunedModelId(f"m{self.count}")).model.number
        return number, self.listed("endpoints")[0]["name"].rpartition("/")[2]

    def listed(self, what):
        """The models or endpoints that are there."""
        answer = self.caller.get(f"/v1/projects/p/locations/us-central1/{what}", key=self.key)
        return answer.json().get(what, [])


def here(text, number, endpoint):
    """A target or a body with the names of what exists here."""
    text = re.sub(r"\b333\b", endpoint, text)
    text = re.sub(r"\bmodels/111\b", f"models/{number}", text)
    text = re.sub(r"tuning-(experiment|run)-1\b", rf"tuning-\1-{number}", text)
    text = re.sub(r"tensorboards(/|%2F)777", rf"tensorboards\g<1>{number}", text)
    text = re.sub(r'"deployedModelId": "9"', f'"deployedModelId": "{endpoint}"', text)
    return re.sub(BASES, "echo-001", text)


def expected(request):
    if ":predict" in request["target"]:
        return 400 if "/endpoints/" in request["target"] else 501
    return 200


def test_every_recorded_request_is_answered_by_the_schema(caller):
    made = Made(caller)
    for request in REQUESTS:
        number, endpoint = made.numbers()
        target = here(request["target"], number, endpoint)
        body = None if request["body"] is None else json.loads(here(json.dumps(request["body"]), number, endpoint))

        answer = caller.call(request["method"], target, body, key=made.key)

        told = (request["clients"], request["call"], target, answer.text[:300])
        assert answer.status_code == expected(request), told
        if answer.status_code == 200:
            assert_valid(request["method"], target, answer, told)


def assert_valid(verb, target, answer, told):
    path = target.partition("?")[0].replace("%40", "@")
    name = next((name for end, name in ANSWERS if re.search(end, f"{verb} {path}")), None)
    if "publishers/google/models" in path and ":" not in path:
        # The published document has no schema of publishers' models.
        assert "name" in answer.json() or "publisherModels" in answer.json()
        return
    assert name, told
    if "alt=sse" in target:
        messages = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\r\n\r\n") if line]
    else:
        messages = answer.json() if isinstance(answer.json(), list) else [answer.json()]
    assert messages, told
    for message in messages:
        assert SCHEMAS.faults(name, message) == [], told


def test_the_check_of_answers_finds_what_is_wrong():
    assert SCHEMAS.faults("Checkpoint", {"checkpointId": "1", "epoch": "2"}) == []
    assert SCHEMAS.faults("Checkpoint", {"checkpointId": 1}) == ["Checkpoint.checkpointId is 1"]
    assert SCHEMAS.faults("Checkpoint", {"number": "1"}) == ["Checkpoint has no field number"]
    assert SCHEMAS.faults("Model", {"checkpoints": []}) == ["Model.checkpoints is no list, or an empty one"]
