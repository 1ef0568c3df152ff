"""Every setting of a request for text over HTTP: honoured, or refused by name."""

import json

import pytest

from caller import turn
from tuningfork.domain.generation import ChoiceAnswer, JsonAnswer

OWN = "/v1beta/models/echo-001"
GEMINI = "/v1beta/models/gemini-1.0-pro-001"
JSON = {"responseMimeType": "application/json"}
PERSON = {"type": "OBJECT", "properties": {"name": {"type": "STRING"}, "age": {"type": "INTEGER"}}}


def ask(caller, config, *, path=f"{OWN}:generateContent", text="a b"):
    return caller.post(path, {"contents": [turn(text)], "generationConfig": config})


def violations_of(answer):
    assert answer.status_code == 400, answer.text
    return [each["field"] for each in answer.json()["error"]["details"][0]["fieldViolations"]]


def sampling_of(caller):
    return caller.workshop.executor.generations[-1].sampling


@pytest.mark.parametrize(
    ("config", "form"),
    [
        (JSON, JsonAnswer()),
        ({**JSON, "responseSchema": {"type": "STRING"}}, JsonAnswer('{"type": "string"}')),
        ({**JSON, "responseJsonSchema": {"type": "null"}}, JsonAnswer('{"type": "null"}')),
        (
            {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": ["x", "y"]}},
            ChoiceAnswer(("x", "y")),
        ),
    ],
)
def test_a_model_under_its_own_name_is_told_the_form_of_its_answer(caller, config, form):
    assert ask(caller, config).status_code == 200
    assert sampling_of(caller).answer_format == form


def test_what_is_tuned_from_a_model_under_its_own_name_has_json_mode_too(caller):
    name = caller.create_active(baseModel="models/echo-001")

    assert ask(caller, {**JSON, "responseSchema": PERSON}, path=f"/v1/{name}:generateContent").status_code == 200


@pytest.mark.parametrize(
    "config",
    [
        JSON,
        {**JSON, "responseSchema": PERSON},
        {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": ["x"]}},
    ],
)
def test_a_model_under_a_gemini_name_has_no_json_mode_nor_what_is_tuned_from_it(caller, config):
    for name in ("models/gemini-1.0-pro-001", caller.create_active()):
        error = ask(caller, config, path=f"/v1beta/{name}:generateContent").json()["error"]

        assert (error["code"], error["message"]) == (400, f"JSON mode is not enabled for {name}")


def test_a_bad_schema_is_told_by_the_paths_of_its_members(caller):
    schema = {"type": "OBJECT", "properties": {"a": {"type": "ARRAY"}, "b": {"type": "STRING", "items": PERSON}}}

    answer = ask(caller, {**JSON, "responseSchema": schema})

    assert violations_of(answer) == [
        "generation_config.response_schema.properties[a].items",
        "generation_config.response_schema.properties[b].items",
    ]
    assert answer.json()["error"]["message"] == (
        "* GenerateContentRequest.generation_config.response_schema.properties[a].items: missing field.\n"
        "* GenerateContentRequest.generation_config.response_schema.properties[b].items: only allowed for ARRAY type\n"
    )


def test_an_unknown_member_of_a_schema_is_told_by_the_place_of_its_entry(caller):
    schema = {"type": "OBJECT", "properties": {"a": {"type": "STRING"}, "b": {"type": "STRING", "const": 1}}}

    assert ask(caller, {**JSON, "responseSchema": schema}).json()["error"]["message"] == (
        'Invalid JSON payload received. Unknown name "const" at '
        "'generation_config.response_schema.properties[1].value': Cannot find field."
    )


def test_log_probabilities_are_told_token_by_token(caller):
    [candidate] = ask(caller, {"responseLogprobs": True, "logprobs": 2}).json()["candidates"]

    assert candidate["avgLogprobs"] == -0.25
    result = candidate["logprobsResult"]
    assert [each["token"] for each in result["chosenCandidates"]] == ["a ", "b"]
    assert [len(each["candidates"]) for each in result["topCandidates"]] == [2, 2]
    assert result["logProbabilitySum"] == -0.5


def test_chosen_tokens_alone_are_told_where_no_number_is_given(caller):
    [candidate] = ask(caller, {"responseLogprobs": True}).json()["candidates"]

    assert "topCandidates" not in candidate["logprobsResult"]
    assert len(candidate["logprobsResult"]["chosenCandidates"]) == 2


def test_streamed_log_probabilities_come_with_their_piece(caller):
    chunks = ask(caller, {"responseLogprobs": True}, path=f"{OWN}:streamGenerateContent").json()

    candidates = [chunk["candidates"][0] for chunk in chunks]
    assert [each["logprobsResult"]["chosenCandidates"][0]["token"] for each in candidates] == ["a ", "b"]
    assert [each.get("avgLogprobs") for each in candidates] == [None, -0.25]


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"presencePenalty": 2.5}, "presence_penalty"),
        ({"frequencyPenalty": "NaN"}, "frequency_penalty"),
        ({"logprobs": 3}, "logprobs"),
        ({"logprobs": 3, "responseLogprobs": False}, "logprobs"),
        ({"logprobs": 21, "responseLogprobs": True}, "logprobs"),
        ({"maxOutputTokens": 0}, "max_output_tokens"),
        ({"maxOutputTokens": -5}, "max_output_tokens"),
        ({"topK": -1}, "top_k"),
        ({"topP": 0}, "top_p"),
        ({"topP": 1.1}, "top_p"),
        ({"temperature": -0.1}, "temperature"),
        ({"candidateCount": 0}, "candidate_count"),
        ({"candidateCount": 9}, "candidate_count"),
        ({"responseModalities": ["IMAGE"]}, "response_modalities"),
        ({"thinkingConfig": {"thinkingBudget": 5}}, "thinking_config.thinking_budget"),
        ({"responseMimeType": "text/html"}, "response_mime_type"),
        ({"responseSchema": PERSON}, "response_mime_type"),
    ],
)
def test_a_setting_out_of_its_range_is_refused_by_name(caller, config, field):
    assert violations_of(ask(caller, config)) == [f"generation_config.{field}"]


def test_every_setting_arrives_at_the_model(caller):
    config = {
        "presencePenalty": 1,
        "frequency_penalty": "-0.5",
        "responseLogprobs": True,
        "logprobs": 4,
        "seed": 7,
        "candidateCount": 2,
        "stopSequences": ["x"],
        "maxOutputTokens": 9,
        "temperature": 0.5,
        "topP": 0.25,
        "topK": 3,
    }
    assert ask(caller, config).status_code == 200
    sampling = sampling_of(caller)
    assert (sampling.presence_penalty, sampling.frequency_penalty, sampling.logprobs) == (1, -0.5, 4)
    assert (sampling.seed, sampling.candidate_count, sampling.stop_sequences) == (7, 2, ("x",))
    assert (sampling.max_output_tokens, sampling.temperature) == (9, 0.5)
    assert (sampling.top_p, sampling.top_k) == (0.25, 3)


def test_every_piece_of_a_stream_has_the_id_of_its_answer(caller):
    chunks = ask(caller, {}, path=f"{OWN}:streamGenerateContent").json()

    assert {chunk["responseId"] for chunk in chunks} == {"one-answer"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"contents": []}, "* GenerateContentRequest.contents: contents is not specified\n"),
        (
            {"contents": [{"role": "user", "parts": []}]},
            "* GenerateContentRequest.contents[0].parts: contents.parts must not be empty.\n",
        ),
        ({"contents": [turn("x", "system")]}, "Please use a valid role: user, model."),
        ({"contents": [turn("x", "function")]}, "Please use a valid role: user, model."),
        (
            {"contents": [turn("x"), turn("y", "model")]},
            "Please ensure that multiturn requests ends with a user role or a function response",
        ),
    ],
)
def test_what_is_wrong_with_a_conversation_is_told_in_the_documented_words(caller, body, message):
    answer = caller.post(f"{OWN}:generateContent", body)

    assert (answer.status_code, answer.json()["error"]["message"]) == (400, message)


def test_neighbouring_turns_of_one_role_are_one_turn_and_every_role_is_passed_on(caller):
    contents = [turn("a"), turn("b"), turn("c", "model"), turn("d")]
    instruction = {"role": "user", "parts": [{"text": "be"}, {"text": " brief"}]}

    caller.post(f"{OWN}:generateContent", {"contents": contents, "systemInstruction": instruction})

    [assignment] = caller.workshop.executor.generations
    assert [(each.speaker.value, each.text) for each in assignment.prompt.turns] == [
        ("user", "a\nb"),
        ("model", "c"),
        ("user", "d"),
    ]
    assert assignment.prompt.system_instruction == "be\n\n brief"


# generateText


def test_text_of_the_palm_generation_is_answered_whole(caller):
    body = {
        "prompt": {"text": "one two three"},
        "temperature": 0.5,
        "candidateCount": 2,
        "maxOutputTokens": 2,
        "topP": 0.5,
        "topK": 4,
        "stopSequences": ["x"],
    }

    answer = caller.post(f"{OWN}:generateText", body)

    assert answer.json() == {"candidates": [{"output": "one two "}, {"output": "one two "}]}
    sampling = sampling_of(caller)
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.5, 0.5, 4)
    assert (sampling.max_output_tokens, sampling.stop_sequences) == (2, ("x",))


def test_a_tuned_model_has_generate_text_where_its_base_has(caller):
    name = caller.create_active(baseModel="models/echo-001")

    assert caller.post(f"/v1beta/{name}:generateText", {"prompt": {"text": "1"}}).json() == {
        "candidates": [{"output": "2"}]
    }


def test_a_gemini_model_has_no_generate_text_nor_what_is_tuned_from_it(caller):
    for name in ("models/gemini-1.0-pro-001", caller.create_active()):
        answer = caller.post(f"/v1beta/{name}:generateText", {"prompt": {"text": "1"}})

        assert answer.status_code == 404
        assert answer.json()["error"]["message"] == (
            f"{name} is not found for API version v1beta, or is not supported for generateText. "
            "Call ListModels to see the list of available models and their supported methods."
        )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "prompt.text"),
        ({"prompt": {"text": "x"}, "temperature": 9}, "temperature"),
        ({"prompt": {"text": "x"}, "candidateCount": 9}, "candidate_count"),
        ({"prompt": {"text": "x"}, "stopSequences": ["a", ""]}, "stop_sequences[1]"),
    ],
)
def test_faults_of_a_text_request_are_told_with_their_places(caller, body, field):
    answer = caller.post(f"{OWN}:generateText", body)

    assert violations_of(answer) == [field]
    assert answer.json()["error"]["message"].startswith(f"* GenerateTextRequest.{field}: ")


def test_models_tell_whether_they_have_generate_text(caller):
    methods = {
        each["name"]: each["supportedGenerationMethods"] for each in caller.get("/v1beta/models").json()["models"]
    }

    assert "generateText" in methods["models/echo-001"]
    assert "generateText" not in methods["models/gemini-1.0-pro-001"]


# countTokens


def test_a_request_to_count_for_another_model_is_refused(caller):
    inner = {"model": "models/gemini-1.0-pro-001", "contents": [turn("x")]}

    assert violations_of(caller.post(f"{OWN}:countTokens", {"generateContentRequest": inner})) == [
        "generate_content_request.model"
    ]


def test_the_system_instruction_counts(caller):
    inner = {"model": "models/echo-001", "contents": [turn("x")], "systemInstruction": turn("a b c")}

    assert caller.post(f"{OWN}:countTokens", {"generateContentRequest": inner}).json()["totalTokens"] == 4


def test_a_long_input_is_refused_under_a_gemini_name_only(caller):
    body = {"contents": [turn("x" * 40_001)]}

    answer = caller.post(f"{GEMINI}:generateContent", body)

    assert violations_of(answer) == ["contents"]
    assert "40000 characters" in answer.json()["error"]["message"]
    assert caller.post(f"{OWN}:generateContent", body).status_code == 200


@pytest.mark.parametrize("path", [OWN, GEMINI])
def test_an_input_beyond_the_context_is_refused_under_every_name(caller, path):
    answer = caller.post(f"{path}:generateContent", {"contents": [turn("x " * 16_384)]})

    assert answer.status_code == 400
    assert "16384 tokens" in answer.json()["error"]["message"]


def test_a_stream_is_refused_like_a_whole_answer(caller):
    answer = ask(caller, JSON, path=f"{GEMINI}:streamGenerateContent?alt=sse")

    assert json.loads(answer.content)["error"]["message"] == "JSON mode is not enabled for models/gemini-1.0-pro-001"
