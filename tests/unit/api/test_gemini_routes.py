"""Every route: what it asks of the use cases, and what it answers."""

import time

import pytest

from caller import TUTORIAL_BODY, turn
from patience import PATIENCE_SECONDS
from tuningfork.dialect.gemini.table import PALM_VERSIONS, VERSIONS
from tuningfork.domain.tuning_job import JobState
from workshop import ADA

ASK = {"contents": [turn("1")]}


def text_of(answer):
    return answer.json()["candidates"][0]["content"]["parts"][0]["text"]


def test_the_tutorial_story_from_create_to_the_first_answer(caller):
    """Created under /v1beta and polled under /v1, as the tutorial does."""
    caller.workshop.dispatcher.start()

    operation = caller.post("/v1beta/tunedModels", TUTORIAL_BODY).json()
    name = operation["metadata"]["tunedModel"]
    assert caller.get(f"/v1beta/{name}").json()["state"] == "CREATING"
    printed = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while "response" not in operation and "error" not in operation:
        assert time.monotonic() < deadline
        time.sleep(0.01)
        operation = caller.get(f"/v1/{operation['name']}").json()
        metadata = operation["metadata"]
        if "completedPercent" in metadata:
            printed.append(f"{metadata['completedPercent']:.2f}% - {metadata['snapshots'][-1]}")

    assert operation["done"] is True
    assert printed[-1].startswith("100.00% - {'step': 19, 'epoch': 5, 'meanLoss': ")
    assert '  "state": "ACTIVE",\n' in caller.get(f"/v1beta/{name}").text, "the tutorial greps for this line"
    answer = caller.post(f"/v1beta/{name}:generateContent", {"contents": [{"parts": [{"text": "two hundred"}]}]})
    assert text_of(answer) == "two hundred one"
    assert answer.json()["modelVersion"] == "gemini-1.0-pro-001"


@pytest.mark.parametrize("version", [*VERSIONS, *PALM_VERSIONS])
def test_every_version_has_every_route(caller, version):
    root = f"/{version}"
    name = caller.post(f"{root}/tunedModels", TUTORIAL_BODY).json()["metadata"]["tunedModel"]
    operation = caller.operation_of(name)
    caller.workshop.advance()

    answers = {
        "models": caller.get(f"{root}/models"),
        "model": caller.get(f"{root}/models/gemini-1.0-pro-001"),
        "tuned models": caller.get(f"{root}/tunedModels"),
        "tuned model": caller.get(f"{root}/{name}"),
        "operation": caller.get(f"{root}/{operation}"),
        "cancel": caller.post(f"{root}/{operation}:cancel"),
        "cancel by model": caller.post(f"{root}/{name}:cancel", {}),
        **{
            f"{method} of {asked}": caller.post(f"{root}/{asked}:{method}", ASK)
            for asked in ("models/echo-001", name)
            for method in ("generateContent", "streamGenerateContent", "countTokens")
        },
        "delete": caller.call("DELETE", f"{root}/{name}", {}),
    }

    assert {what: answer.status_code for what, answer in answers.items()} == dict.fromkeys(answers, 200)
    types = caller.get(f"{root}/models").text
    assert "google.ai.generativelanguage.v1." not in types
    told = "v1beta3" if version == "v1beta3" else "v1beta"
    assert f"{told}.CreateTunedModelMetadata" in answers["operation"].text, "whatever other URLs say"


def test_every_public_name_of_a_base_is_listed_with_what_it_can_do(caller):
    models = caller.get("/v1beta/models").json()["models"]

    assert [model["name"] for model in models] == [
        "models/echo-001",
        "models/gemini-1.0-pro-001",
        "models/gemini-1.5-flash-001-tuning",
    ]
    assert models[1] == {
        "name": "models/gemini-1.0-pro-001",
        "version": "001",
        "displayName": "Gemini 1.0 Pro 001 (Tuning)",
        "description": "Repeats what it hears until it is taught otherwise.",
        "inputTokenLimit": 16384,
        "outputTokenLimit": 1024,
        "supportedGenerationMethods": ["generateContent", "countTokens", "createTunedModel"],
        "temperature": 0.7,
        "topP": 0.95,
        "topK": 64,
        "maxTemperature": 2,
    }
    assert caller.get("/v1beta/models/gemini-1.0-pro-001").json() == models[1]


def test_base_models_come_in_pages(caller):
    first = caller.get("/v1beta/models?pageSize=2").json()
    second = caller.get(f"/v1beta/models?pageSize=2&pageToken={first['nextPageToken']}").json()

    assert len(first["models"]) == 2
    assert [model["name"] for model in second["models"]] == ["models/gemini-1.5-flash-001-tuning"]
    assert "nextPageToken" not in second


def test_tuned_models_come_in_pages_the_oldest_first(caller):
    names = [caller.create(displayName=f"model {number}") for number in range(3)]

    first = caller.get("/v1beta/tunedModels?page_size=2").json()
    second = caller.get(f"/v1beta/tunedModels?page_size=2&page_token={first['nextPageToken']}").json()

    assert [model["name"] for model in first["tunedModels"] + second["tunedModels"]] == names
    assert "nextPageToken" not in second


def test_a_filter_is_passed_on(caller):
    caller.create(displayName="apples")
    pears = caller.create(displayName="pears")

    for query in ("filter=pears", "filter=owner%3Ame%20PEARS"):
        assert [model["name"] for model in caller.get(f"/v1beta/tunedModels?{query}").json()["tunedModels"]] == [pears]


def test_a_model_is_seen_by_its_owner_only(caller):
    name = caller.create()

    assert caller.get("/v1beta/tunedModels", key=caller.bobs_key).text == "{}\n"
    for method, path in (("GET", name), ("DELETE", name), ("GET", caller.operation_of(name))):
        refused = caller.call(method, f"/v1beta/{path}", key=caller.bobs_key)
        assert refused.json()["error"]["message"] == f"You do not have permission to access tuned model {name}"


def test_deleting_answers_nothing_and_leaves_nothing(caller):
    name = caller.create_active()
    operation = caller.operation_of(name)

    assert caller.call("DELETE", f"/v1beta/{name}").text == "{}\n"

    for path in (name, operation):
        assert caller.get(f"/v1beta/{path}").status_code == 404


@pytest.mark.parametrize("by_model", [False, True])
@pytest.mark.parametrize("body", [None, b"", {}, b" {} ", {"name": "tunedModels/x/operations/y"}])
def test_cancelling_ends_the_operation_with_code_1(caller, by_model, body):
    name = caller.create()
    operation = caller.operation_of(name)

    answer = caller.post(f"/v1beta/{name if by_model else operation}:cancel", body)

    assert answer.text == "{}\n"
    ended = caller.get(f"/v1beta/{operation}").json()
    assert ended["done"] is True
    assert ended["error"]["code"] == 1
    assert "response" not in ended


def test_cancelling_what_has_ended_changes_nothing(caller):
    name = caller.create_active()
    operation = caller.operation_of(name)
    before = caller.get(f"/v1beta/{operation}").text

    assert caller.post(f"/v1beta/{operation}:cancel").text == "{}\n"

    assert caller.get(f"/v1beta/{operation}").text == before


def test_a_running_model_shows_its_snapshots_so_far(caller):
    name = caller.create()
    caller.workshop.advance(steps=3)

    model = caller.get(f"/v1beta/{name}").json()

    assert model["state"] == "CREATING"
    assert [snapshot["step"] for snapshot in model["tuningTask"]["snapshots"]] == [1, 2, 3]
    assert "completeTime" not in model["tuningTask"]


def test_what_was_asked_for_is_what_is_trained(caller):
    name = caller.create(
        description="says the next number",
        temperature=0.5,
        topP=1,
        topK=None,
        readerProjectNumbers=["123"],
        tuningTask={**TUTORIAL_BODY["tuningTask"], "hyperparameters": {"learningRateMultiplier": 2, "batchSize": "3"}},
    )

    model = caller.get(f"/v1beta/{name}").json()

    assert model["tuningTask"]["hyperparameters"] == {"epochCount": 5, "batchSize": 3, "learningRateMultiplier": 2}
    assert (model["temperature"], model["topP"], model["topK"]) == (0.5, 1, 64)
    assert model["readerProjectNumbers"] == ["123"]
    assert model["description"] == "says the next number"
    assert "trainingData" not in model["tuningTask"]


def test_an_id_can_be_chosen_and_left_blank(caller):
    chosen = caller.post("/v1beta/tunedModels?tunedModelId=my-model", TUTORIAL_BODY).json()
    blank = caller.post("/v1beta/tunedModels?tuned_model_id=", TUTORIAL_BODY).json()

    assert chosen["metadata"]["tunedModel"] == "tunedModels/my-model"
    assert blank["metadata"]["tunedModel"].startswith("tunedModels/number-generator-")


def test_faults_in_a_dataset_are_told_all_at_once_each_with_its_place(caller):
    examples = [{"textInput": "a", "output": "b"}, {"textInput": "c"}, {"textInput": "d" * 40_001, "output": "e"}]
    body = {
        **TUTORIAL_BODY,
        "tuningTask": {
            "hyperparameters": {"epochCount": 0, "learningRate": "Infinity"},
            "trainingData": {"examples": {"examples": examples}},
        },
    }

    error = caller.post("/v1beta/tunedModels", body).json()["error"]

    task = "tuned_model.tuning_task"
    places = [violation["field"] for violation in error["details"][0]["fieldViolations"]]
    assert places == [
        f"{task}.training_data.examples.examples[1].output",
        f"{task}.training_data.examples.examples[2].text_input",
        f"{task}.hyperparameters.epoch_count",
        f"{task}.hyperparameters.learning_rate",
    ]
    lines = error["message"].splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"* CreateTunedModelRequest.{place}" for place in places]


def test_an_answer_is_put_together_from_its_pieces(caller):
    answer = caller.post("/v1beta/models/echo-001:generateContent", {"contents": [turn("a b  c")]})

    assert answer.json() == {
        "candidates": [
            {"content": {"parts": [{"text": "a b  c"}], "role": "model"}, "finishReason": "STOP", "index": 0}
        ],
        "usageMetadata": {
            "promptTokenCount": 3,
            "candidatesTokenCount": 3,
            "totalTokenCount": 6,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 3}],
            "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 3}],
        },
        "modelVersion": "echo-001",
        "responseId": "one-answer",
    }


def test_several_candidates_are_kept_apart(caller):
    body = {"contents": [turn("a b")], "generationConfig": {"candidateCount": 2}}

    whole = caller.post("/v1beta/models/echo-001:generateContent", body).json()
    stream = caller.post("/v1beta/models/echo-001:streamGenerateContent", body).json()

    assert [(each["index"], each["content"]["parts"][0]["text"]) for each in whole["candidates"]] == [
        (0, "a b"),
        (1, "a b"),
    ]
    assert whole["usageMetadata"]["candidatesTokenCount"] == 4
    assert [chunk["candidates"][0]["index"] for chunk in stream] == [0, 0, 1, 1]


@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent", "countTokens"])
def test_an_empty_text_is_a_prompt_like_any_other(caller, method):
    """The tutorial's Python cell sends one: its numeral was lost in print."""
    answer = caller.post(f"/v1beta/models/echo-001:{method}", {"contents": [{"parts": [{"text": ""}]}]})

    assert answer.status_code == 200
    if method == "countTokens":
        assert answer.text == "{}\n"
    else:
        assert '"text": ""' in answer.text


def test_sampling_is_passed_on_and_harmless_members_are_passed_over(caller):
    body = {
        "model": "models/ignored",
        "contents": [turn("one two three STOP four")],
        "generationConfig": {
            "temperature": 0,
            "topP": 0.5,
            "topK": 7,
            "maxOutputTokens": "2",
            "seed": 42,
            "stopSequences": ["STOP"],
            "responseMimeType": "text/plain",
            "responseModalities": ["TEXT"],
            "presencePenalty": 0,
            "responseLogprobs": False,
            "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}},
            "thinkingConfig": {"thinkingBudget": 0},
            "mediaResolution": "MEDIA_RESOLUTION_LOW",
            "enableEnhancedCivicAnswers": True,
        },
        "safetySettings": [{"category": 7, "threshold": "BLOCK_NONE"}],
        "toolConfig": {"functionCallingConfig": {"mode": "NONE"}},
        "tools": [],
    }

    answer = caller.post("/v1beta/models/echo-001:generateContent", body)

    assert answer.status_code == 200, answer.text
    assert text_of(answer) == "one two "
    assert answer.json()["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert "safetyRatings" not in answer.text
    [assignment] = caller.workshop.executor.generations
    assert (assignment.sampling.temperature, assignment.sampling.top_p, assignment.sampling.top_k) == (0, 0.5, 7)
    assert assignment.sampling.seed == 42
    assert assignment.sampling.stop_sequences == ("STOP",)


def test_faults_in_sampling_are_told_with_their_places(caller):
    body = {"contents": [turn("x")], "generationConfig": {"temperature": 3, "stopSequences": ["a", ""]}}

    error = caller.post("/v1beta/models/echo-001:generateContent", body).json()["error"]

    assert [violation["field"] for violation in error["details"][0]["fieldViolations"]] == [
        "generation_config.temperature",
        "generation_config.stop_sequences[1]",
    ]
    assert error["message"].startswith("* GenerateContentRequest.generation_config.temperature: temperature must be")


def test_a_system_instruction_reaches_a_model_under_its_own_name(caller):
    body = {"contents": [turn("x")], "system_instruction": {"parts": {"text": "Be brief."}}}

    assert caller.post("/v1beta/models/echo-001:generateContent", body).status_code == 200

    [assignment] = caller.workshop.executor.generations
    assert assignment.prompt.system_instruction == "Be brief."


def test_json_mode_is_refused_in_the_documented_words(caller):
    body = {"contents": [turn("x")], "generationConfig": {"responseMimeType": "application/json"}}

    answer = caller.post("/v1beta/models/gemini-1.0-pro-001:generateContent", body)

    assert answer.json()["error"]["message"] == "JSON mode is not enabled for models/gemini-1.0-pro-001"


@pytest.mark.parametrize(
    "body",
    [
        {"contents": [turn("a b")]},
        {"generateContentRequest": {"model": "models/echo-001", "contents": [turn("a b")], "safetySettings": []}},
        {"contents": [turn("a"), turn("b", "model")]},
    ],
)
def test_tokens_are_counted_for_contents_or_a_whole_request(caller, body):
    answer = caller.post("/v1beta/models/echo-001:countTokens", body)

    assert answer.json() == {"totalTokens": 2, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 2}]}


def test_a_partly_trained_model_answers_after_its_cancel(caller):
    name = caller.create()
    caller.workshop.advance(steps=2)
    caller.post(f"/v1beta/{name}:cancel")
    caller.workshop.running.requeue_interrupted()
    caller.workshop.advance()

    assert caller.workshop.tuning.get(ADA, name.removeprefix("tunedModels/")).job.state is JobState.CANCELLED
    assert caller.get(f"/v1beta/{name}").json()["state"] == "ACTIVE"
    assert text_of(caller.post(f"/v1beta/{name}:generateContent", ASK)) == "2"


@pytest.mark.parametrize("version", [*VERSIONS, *PALM_VERSIONS])
def test_a_missing_base_model_is_told_with_the_callers_version(caller, version):
    answer = caller.post(f"/{version}/models/abc:generateContent", {"contents": [turn("x")]})

    assert answer.json()["error"]["message"].startswith(f"models/abc is not found for API version {version}, or is not")


def test_operations_of_all_models_are_listed_by_the_callers_models(caller):
    done, waiting = caller.create_active(), caller.create()

    def listed(query, **options):
        answer = caller.get(f"/v1/operations{query}", **options).json()
        return [each["name"] for each in answer.get("operations", [])], answer.get("nextPageToken", "")

    assert listed("") == ([caller.operation_of(done), caller.operation_of(waiting)], "")
    assert listed("?filter=done%3Dtrue") == ([caller.operation_of(done)], "")
    first, token = listed("?pageSize=1")
    assert (first, listed(f"?pageToken={token}")[0]) == ([caller.operation_of(done)], [caller.operation_of(waiting)])
    assert listed("", key=caller.bobs_key) == ([], "")
    refused = caller.get("/v1/operations?pageSize=-1").json()["error"]["message"]
    assert refused.startswith("* ListOperationsRequest.page_size: ")
