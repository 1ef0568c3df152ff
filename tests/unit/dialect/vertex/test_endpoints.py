"""Endpoints over HTTP: text of base models and of every checkpoint, tokens, and what is deployed where."""

import base64
import json

import pytest

from caller import TUTORIAL_BODY, turn
from vertex_serving import PLACE, V1, keep_early, key_in_adas_project, serving_caller, two_checkpoints
from workshop import ADA, BOB

ASKED = {"contents": [turn("8")]}
BASE = f"{V1}/publishers/google/models/echo-001"


@pytest.fixture
def caller(workshop):
    return serving_caller(workshop)


def text_of(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["candidates"][0]["content"]["parts"][0]["text"]


def message(answer):
    return answer.json()["error"]["message"]


def test_each_checkpoint_answers_at_its_own_endpoint(caller):
    early, last = two_checkpoints(caller).endpoints

    for version in ("v1", "v1beta1"):
        assert text_of(caller.post(f"/{version}/{early}:generateContent", ASKED)) == "early"
        assert text_of(caller.post(f"/{version}/{last}:generateContent", ASKED)) == "9"


def test_a_checkpoint_answers_while_its_job_goes_on_and_its_model_does_not(caller):
    caller.post("/v1beta/tunedModels?tunedModelId=numbers", TUTORIAL_BODY)
    keep_early(caller.workshop, "numbers")
    number = caller.workshop.tuning.get(ADA, "numbers").model.number
    [deployed] = caller.get(f"{V1}/models/{number}").json()["deployedModels"]

    assert text_of(caller.post(f"/v1/{deployed['endpoint']}:generateContent", ASKED)) == "early"
    assert caller.post(f"{V1}/models/{number}:generateContent", ASKED).status_code == 400


@pytest.mark.parametrize(
    "path", ["{v1}/{place}/publishers/endpoints/models/{id}", "{v1}/endpoints/{id}", "{v1}/{place}/endpoints/{id}"]
)
def test_an_endpoint_is_found_by_every_name_that_clients_send(caller, path):
    last = two_checkpoints(caller).endpoints[1]
    # Without a project the usual location is meant, in which this model is not.
    found = path.format(v1="/v1beta1", place=PLACE, id=last.rpartition("/")[2])

    answer = caller.post(f"{found}:generateContent", ASKED)

    assert answer.status_code == (200 if PLACE in found else 404)


def test_a_models_name_means_its_default_checkpoint(caller):
    made = two_checkpoints(caller)

    assert text_of(caller.post(f"{made.path()}@1:generateContent", ASKED)) == "9"
    caller.call("PATCH", made.path(), {"defaultCheckpointId": "1"})
    assert text_of(caller.post(f"{made.path()}:generateContent", ASKED)) == "early"


@pytest.mark.parametrize(
    "path", [BASE, "/v1/publishers/google/models/echo-001", "/v1beta1/publishers/x/models/echo-001"]
)
def test_a_base_model_answers_below_any_publisher(caller, path):
    assert text_of(caller.post(f"{path}:generateContent", {"contents": [turn("a b")]})) == "a b"


def test_an_answer_has_what_this_api_tells_of_one(caller):
    config = {"responseLogprobs": True, "logprobs": 1}

    answer = caller.post(f"{BASE}:generateContent", {"contents": [turn("a b")], "generationConfig": config}).json()

    [candidate] = answer["candidates"]
    assert candidate["finishReason"] == "STOP"
    assert candidate["avgLogprobs"] <= 0
    assert set(candidate["logprobsResult"]) == {"topCandidates", "chosenCandidates"}
    assert answer["modelVersion"] == "echo-001"
    assert answer["responseId"] == "one-answer"
    assert answer["createTime"].endswith("Z")
    assert answer["usageMetadata"] == {
        "promptTokenCount": 2,
        "candidatesTokenCount": answer["usageMetadata"]["candidatesTokenCount"],
        "totalTokenCount": 2 + answer["usageMetadata"]["candidatesTokenCount"],
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 2}],
        "candidatesTokensDetails": [
            {"modality": "TEXT", "tokenCount": answer["usageMetadata"]["candidatesTokenCount"]}
        ],
        "trafficType": "ON_DEMAND",
    }


def test_enums_are_numbers_of_this_api_if_a_client_wants_numbers(caller):
    answer = caller.post(f"{BASE}:generateContent?%24alt=json%3Benum-encoding%3Dint", {"contents": [turn("a")]})

    assert answer.json()["candidates"][0]["finishReason"] == 1
    assert answer.json()["usageMetadata"]["trafficType"] == 1


def test_the_settings_of_a_request_are_read_in_either_spelling_with_a_float_for_top_k(caller):
    config = {
        "temperature": 0.5,
        "top_p": 0.9,
        "topK": 3.0,
        "seed": 7,
        "presencePenalty": 0.5,
        "frequency_penalty": "0.25",
        "max_output_tokens": 5,
        "thinkingConfig": {"thinking_budget": 0},
    }
    body = {
        "contents": {"role": "USER", "parts": {"text": "a b"}},
        "system_instruction": {"role": "user", "parts": [{"text": "be brief"}]},
        "generation_config": config,
        "safetySettings": [
            {"category": 1, "threshold": 3, "method": "SEVERITY"},
            {"category": "HARM_CATEGORY_JAILBREAK", "threshold": "OFF"},
        ],
        "labels": {"team": "x"},
        "cachedContent": None,
    }

    assert text_of(caller.post(f"{BASE}:generateContent", body)) == "a b"

    [asked] = caller.workshop.executor.generations
    sampling = asked.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.seed) == (0.5, pytest.approx(0.9), 3, 7)
    assert (sampling.presence_penalty, sampling.frequency_penalty, sampling.max_output_tokens) == (0.5, 0.25, 5)
    assert asked.prompt.system_instruction == "be brief"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"tools": [{"googleSearch": {}}]}, "tools"),
        ({"cachedContent": "x"}, "cached_content"),
        ({"modelArmorConfig": {"promptTemplateName": "x"}}, "model_armor_config"),
        ({"outputConfig": {"outputUriPrefix": "gs://b"}}, "output_config"),
        ({"generationConfig": {"topK": 3.5}}, "generation_config.top_k"),
        ({"generationConfig": {"routingConfig": {"manualMode": {}}}}, "generation_config.routing_config"),
        ({"generationConfig": {"responseFormat": [{"text": {}}]}}, "generation_config.response_format"),
        ({"generationConfig": {"responseModalities": ["AUDIO"]}}, "generation_config.response_modalities"),
        (
            {"generationConfig": {"thinkingConfig": {"thinking_level": "HIGH"}}},
            "generation_config.thinking_config.thinking_level",
        ),
        (
            {"generationConfig": {"thinkingConfig": {"thinkingBudget": 9}}},
            "generation_config.thinking_config.thinking_budget",
        ),
        (
            {
                "generationConfig": {
                    "responseMimeType": "application/json",
                    "responseSchema": {"type": "ARRAY", "items": {"type": "OBJECT", "ref": "#/x"}},
                }
            },
            "generation_config.response_schema.items.ref",
        ),
    ],
)
def test_what_is_not_served_is_refused_by_name(caller, body, field):
    answer = caller.post(f"{BASE}:generateContent", {**ASKED, **body})

    assert answer.status_code == 400
    [detail] = answer.json()["error"]["details"]
    assert [each["field"] for each in detail["fieldViolations"]] == [field]
    assert not caller.workshop.executor.generations


def test_an_answer_is_streamed_as_events_or_as_an_array(caller):
    body = {"contents": [turn("a b")]}

    events = caller.post(f"{BASE}:streamGenerateContent?alt=sse", body)
    array = caller.post(f"{BASE}:streamGenerateContent?%24alt=json%3Benum-encoding%3Dint", body)

    assert events.headers["content-type"] == "text/event-stream"
    chunks = [json.loads(line.removeprefix("data: ")) for line in events.text.split("\r\n\r\n") if line]
    for whole in (chunks, array.json()):
        texts = [each["candidates"][0]["content"]["parts"][0]["text"] for each in whole]
        assert "".join(texts) == "a b"
        assert "finishReason" in whole[-1]["candidates"][0]
        assert whole[-1]["usageMetadata"]["promptTokenCount"] == 2


def test_tokens_are_counted_with_the_characters_that_would_be_billed(caller):
    body = {
        "model": f"{PLACE}/endpoints/1",
        "contents": [turn("a bc")],
        "systemInstruction": {"parts": [{"text": "be brief"}]},
        "generationConfig": {"temperature": 1},
    }

    answer = caller.post(f"{BASE}:countTokens", body)

    assert answer.json() == {
        "totalTokens": 4,
        "totalBillableCharacters": 10,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 4}],
    }


def test_the_tokens_of_each_content_are_told_with_their_bytes(caller):
    contents = [turn("a bc"), turn("d", "MODEL"), turn("é", "user")]

    answer = caller.post(f"{BASE}:computeTokens", {"contents": contents})

    infos = answer.json()["tokensInfo"]
    assert [each["role"] for each in infos] == ["user", "model", "user"]
    assert infos[0]["tokenIds"] == ["2", "2"]
    assert [base64.b64decode(each).decode() for each in infos[0]["tokens"]] == ["a ", "bc"]
    assert base64.b64decode(infos[2]["tokens"][0]).decode() == "é"


@pytest.mark.parametrize("method", ["countTokens", "computeTokens"])
@pytest.mark.parametrize(
    ("body", "said"),
    [({"instances": [{"content": "x"}]}, "instances are not taken"), ({}, "contents is not specified")],
)
def test_tokens_are_those_of_contents(caller, method, body, said):
    answer = caller.post(f"{BASE}:{method}", body)

    assert answer.status_code == 400
    assert said in message(answer)


@pytest.mark.parametrize("method", ["predict", "rawPredict"])
def test_predict_is_refused_with_the_name_of_what_to_call(caller, method):
    tuned = caller.post(f"/v1/{two_checkpoints(caller).endpoints[0]}:{method}", {"instances": []})
    base = caller.post(f"{BASE}:{method}", {"instances": []})

    assert (tuned.status_code, tuned.json()["error"]["status"]) == (400, "FAILED_PRECONDITION")
    assert (base.status_code, base.json()["error"]["status"]) == (501, "UNIMPLEMENTED")
    assert "generateContent" in message(tuned)
    assert "no embeddings" in message(base)


def test_only_so_many_characters_are_told_token_by_token(caller):
    answer = caller.post(f"{BASE}:computeTokens", {"contents": [turn("x" * 300_001)]})

    assert answer.status_code == 400
    assert "* ComputeTokensRequest.contents: the texts must be at most 300000 characters" in message(answer)


@pytest.mark.parametrize(
    "path", ["endpoints/1", "endpoints/x", "publishers/endpoints/models/x", "models/1", "models/x"]
)
def test_what_is_called_nowhere_is_not_found(caller, path):
    for method in ("generateContent", "streamGenerateContent", "countTokens", "computeTokens"):
        assert caller.post(f"{V1}/{path}:{method}", ASKED).status_code == 404


def test_an_endpoint_tells_its_model_and_is_listed(caller):
    made = two_checkpoints(caller)
    early, last = made.endpoints

    found = caller.get(f"/v1/{last}").json()
    listed = caller.get(f"{V1}/endpoints").json()["endpoints"]

    [deployed] = found["deployedModels"]
    assert (deployed["model"], deployed["modelVersionId"], deployed["checkpointId"]) == (f"{made.name}@1", "1", "2")
    assert found["trafficSplit"] == {deployed["id"]: 100}
    assert found["labels"]["tune-type"] == "sft"
    assert [each["name"] for each in listed] == [last, early]
    assert caller.get(f"{V1}/endpoints?filter=labels.tune-type=none").json() == {}


def test_pages_of_endpoints_have_all_of_them_once(caller):
    made = [two_checkpoints(caller, name) for name in ("first", "second")]
    query, seen = "pageSize=1", []

    while True:
        page = caller.get(f"{V1}/endpoints?{query}").json()
        seen += [each["name"] for each in page["endpoints"]]
        if not page.get("nextPageToken"):
            break
        query = f"pageSize=1&pageToken={page['nextPageToken']}"

    assert seen == [endpoint for each in made[::-1] for endpoint in each.endpoints[::-1]]


def test_what_is_undeployed_is_called_no_more_and_can_be_deployed_again(caller):
    made = two_checkpoints(caller)
    early, last = made.endpoints
    [deployed] = caller.get(f"/v1/{early}").json()["deployedModels"]

    undeployed = caller.post(f"/v1/{early}:undeployModel", {"deployedModelId": deployed["id"]})

    assert undeployed.json()["done"] is True
    assert undeployed.json()["response"]["@type"].endswith(".UndeployModelResponse")
    assert "deployedModels" not in caller.get(f"/v1/{early}").json()
    assert caller.post(f"/v1/{early}:generateContent", ASKED).status_code == 404
    assert [each["endpoint"] for each in caller.get(made.path()).json()["deployedModels"]] == [last]

    again = caller.post(f"/v1/{early}:deployModel", {"deployedModel": {"model": f"{made.name}@1"}})
    assert again.json()["response"]["deployedModel"]["checkpointId"] == "1"
    assert text_of(caller.post(f"/v1/{early}:generateContent", ASKED)) == "early"


def test_an_endpoint_is_deleted_once_nothing_is_deployed_there(caller):
    early, _ = two_checkpoints(caller).endpoints
    [deployed] = caller.get(f"/v1/{early}").json()["deployedModels"]

    refused = caller.call("DELETE", f"/v1/{early}")
    caller.post(f"/v1/{early}:undeployModel", {"deployedModelId": deployed["id"]})
    deleted = caller.call("DELETE", f"/v1/{early}")

    assert refused.status_code == 400
    assert "undeploy it first" in message(refused)
    assert deleted.json()["done"] is True
    assert caller.get(f"/v1/{early}").status_code == 404


def test_another_deployment_is_refused(caller):
    made = two_checkpoints(caller)

    for body in ({"model": f"{PLACE}/models/1"}, {"model": made.name, "checkpointId": "1"}):
        answer = caller.post(f"/v1/{made.endpoints[1]}:deployModel", {"deployedModel": body})
        assert answer.status_code == 501
        assert f"Only {made.name}@1 with checkpoint 2" in message(answer)
    assert caller.post(f"/v1/{made.endpoints[1]}:undeployModel", {"deployedModelId": "9"}).status_code == 400
    assert caller.post(f"{V1}/endpoints", {"displayName": "x"}).status_code == 501
    assert caller.call("PATCH", f"/v1/{made.endpoints[1]}", {"displayName": "x"}).status_code == 501


def test_whoever_has_no_role_is_told_that_there_is_no_endpoint(caller):
    early, _ = two_checkpoints(caller).endpoints
    colleague = key_in_adas_project(caller, BOB)

    for verb, suffix, body in (
        ("GET", "", None),
        ("DELETE", "", None),
        ("PATCH", "", {}),
        ("POST", ":generateContent", ASKED),
        ("POST", ":streamGenerateContent", ASKED),
        ("POST", ":countTokens", ASKED),
        ("POST", ":computeTokens", ASKED),
        ("POST", ":predict", {}),
        ("POST", ":undeployModel", {"deployedModelId": "1"}),
        ("POST", ":deployModel", {"deployedModel": {"model": "x"}}),
    ):
        assert caller.call(verb, f"/v1/{early}{suffix}", body, key=colleague).status_code == 404, suffix
    assert caller.get(f"{V1}/endpoints", key=colleague).json() == {}


@pytest.mark.parametrize(
    "path",
    ["batchPredictionJobs", "cachedContents", "models:copy", "models:upload"],
)
def test_methods_that_this_server_lacks_are_refused_by_name(caller, path):
    answer = caller.post(f"{V1}/{path}", {})

    assert answer.status_code == 501
    assert path in message(answer)
