"""A real model behind a real server: tuned, asked, exported and loaded elsewhere; schemas, stop words, streams."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import httpx
import peft
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from live_server import LiveServer
from patience import RUN_SECONDS, wait_until

BASE = "models/smollm2"
MESSAGES = Path(__file__).parents[2] / "examples" / "data" / "bank_messages.training.csv"
GREEDY = {"temperature": 0}
STEPS = {"epochCount": 12, "batchSize": 5, "learningRate": 0.001}
SCHEMAS = {
    "a person": {
        "type": "OBJECT",
        "properties": {
            "name": {"type": "STRING", "maxLength": 20},
            "age": {"type": "INTEGER", "minimum": 0, "maximum": 120},
            "married": {"type": "BOOLEAN"},
        },
        "required": ["name", "age", "married"],
        "propertyOrdering": ["name", "age", "married"],
    },
    "a list": {
        "type": "ARRAY",
        "items": {"type": "STRING", "enum": ["red", "green", "blue"]},
        "minItems": 2,
        "maxItems": 4,
    },
}


@pytest.fixture(scope="module")
def server(fetched, tmp_path_factory):
    server = LiveServer(tmp_path_factory.mktemp("real"), "--base-model", f"smollm2={fetched('smollm2')}")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def client(server):
    with httpx.Client(base_url=server.url, headers=server.headers, timeout=RUN_SECONDS) as client:
        yield client


def asked(text, *, settings=None, **more):
    body = {"contents": [{"role": "user", "parts": [{"text": text}]}], **more}
    return body | {"generationConfig": GREEDY | {"maxOutputTokens": 24} | (settings or {})}


def answer(client, name, body):
    response = client.post(f"/v1beta/{name}:generateContent", json=body)
    assert response.is_success, response.text
    return response.json()


def text_of(told):
    return "".join(part["text"] for part in told["candidates"][0]["content"]["parts"])


def streamed(client, name, body):
    response = client.post(f"/v1beta/{name}:streamGenerateContent?alt=sse", json=body)
    assert response.is_success, response.text
    return [json.loads(line.removeprefix("data: ")) for line in response.text.splitlines() if line]


@pytest.mark.parametrize("question", ["Write a haiku about rain.", "Count from 1 to 8 in French, with numerals. 🙂"])
def test_the_chunks_of_a_stream_make_up_the_whole_answer(client, question):
    whole, chunks = answer(client, BASE, asked(question)), streamed(client, BASE, asked(question))

    assert len(chunks) > 3
    assert "".join(text_of(each) for each in chunks if each["candidates"][0].get("content")) == text_of(whole)
    assert chunks[-1]["candidates"][0]["finishReason"] == whole["candidates"][0]["finishReason"]
    assert chunks[-1]["usageMetadata"] == whole["usageMetadata"]


def test_an_answer_ends_before_a_stop_word(client):
    body = asked("Name five animals of the forest.")
    whole = text_of(answer(client, BASE, body))
    stop = whole.split()[4]
    told = answer(client, BASE, body | {"generationConfig": body["generationConfig"] | {"stopSequences": [stop]}})

    assert text_of(told) == whole[: whole.index(stop)]
    assert told["candidates"][0]["finishReason"] == "STOP"


@pytest.mark.parametrize("temperature", [0, 1])
@pytest.mark.parametrize("name", SCHEMAS)
def test_answers_have_the_form_of_a_schema(client, name, temperature):
    form = {"responseMimeType": "application/json", "responseSchema": SCHEMAS[name], "temperature": temperature}
    told = answer(client, BASE, asked(f"Make up {name}.", settings=form | {"maxOutputTokens": 200, "seed": 3}))
    found = json.loads(text_of(told))

    if name == "a list":
        assert 2 <= len(found) <= 4
        assert set(found) <= {"red", "green", "blue"}
    else:
        assert [*found] == ["name", "age", "married"]
        assert len(found["name"]) <= 20
        assert 0 <= found["age"] <= 120
        assert found["married"] in (True, False)


def test_system_text_and_earlier_turns_count_as_tokens_of_the_prompt(client):
    turns = [("user", "My name is Ada."), ("model", "Hello, Ada."), ("user", "Who am I?")]
    contents = [{"role": role, "parts": [{"text": text}]} for role, text in turns]
    system = {"parts": [{"text": "Answer in one word."}]}
    body = {"contents": contents, "systemInstruction": system, "generationConfig": GREEDY | {"maxOutputTokens": 4}}
    told = answer(client, BASE, body)
    alone = answer(client, BASE, asked("Who am I?", settings={"maxOutputTokens": 4}))
    counted = client.post(
        f"/v1beta/{BASE}:countTokens", json={"generateContentRequest": {"model": BASE, **body}}
    ).json()

    assert told["usageMetadata"]["promptTokenCount"] == counted["totalTokens"]
    assert counted["totalTokens"] > alone["usageMetadata"]["promptTokenCount"]


def test_a_prompt_beyond_the_context_is_refused(client):
    response = client.post(f"/v1beta/{BASE}:generateContent", json=asked("word " * 9_000))

    assert response.status_code == 400
    assert "8,192" in response.json()["error"]["message"] or "8192" in response.json()["error"]["message"]


@pytest.fixture(scope="module")
def examples():
    """The first message of each kind."""
    with MESSAGES.open(newline="", encoding="utf-8") as file:
        rows = {row["output"]: row["text_input"] for row in reversed([*csv.DictReader(file)])}
    return {message: label for label, message in rows.items()}


@pytest.fixture(scope="module")
def tuned(client, examples):
    """A model that was tuned on one message of each kind until it knows them."""
    pairs = [{"textInput": message, "output": label} for message, label in examples.items()]
    task = {"hyperparameters": STEPS, "trainingData": {"examples": {"examples": pairs}}}
    created = client.post(
        "/v1beta/tunedModels", params={"tunedModelId": "bank"}, json={"baseModel": BASE, "tuningTask": task}
    )
    assert created.is_success, created.text
    wait_until(
        lambda: client.get("/v1beta/tunedModels/bank").json()["state"] != "CREATING", seconds=RUN_SECONDS, every=1
    )
    assert client.get("/v1beta/tunedModels/bank").json()["state"] == "ACTIVE"
    return "tunedModels/bank"


@pytest.fixture(scope="module")
def answers(client, tuned, examples):
    """What the tuned model says to each message that it was tuned on."""
    return {message: text_of(answer(client, tuned, asked(message))) for message in examples}


def exported(server, name, *options):
    done = subprocess.run(
        [sys.executable, "-m", "tuningfork", "export", name, *map(str, options)],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        env=server.environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def said_by(model, tokenizer, message):
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": message}], add_generation_prompt=True, tokenize=True, return_dict=False
    )
    with torch.inference_mode():
        found = model.generate(torch.tensor([ids]), max_new_tokens=24, do_sample=False, pad_token_id=0)[0, len(ids) :]
    return tokenizer.decode(found, skip_special_tokens=True)


def test_a_model_answers_as_it_was_tuned_and_its_base_does_not(client, examples, answers):
    before = [text_of(answer(client, BASE, asked(message, settings={"maxOutputTokens": 6}))) for message in examples]

    assert sum(answers[message] == label for message, label in examples.items()) >= 9
    assert not set(before) & set(examples.values())


# PEFT asks transformers by a name that is going out of use.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated")
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_an_exported_adapter_says_the_same_under_peft(server, fetched, tuned, answers, tmp_path):
    exported(server, tuned, "--to", tmp_path / "adapter")
    base = fetched("smollm2")
    model = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path / "adapter").eval()
    tokenizer = AutoTokenizer.from_pretrained(base)

    assert {message: said_by(model, tokenizer, message) for message in answers} == answers


def test_a_merged_model_says_the_same_without_its_base(server, tuned, fetched, answers, tmp_path):
    exported(server, tuned, "--merged", tmp_path / "merged", "--base", fetched("smollm2"))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")

    assert {message: said_by(model, tokenizer, message) for message in answers} == answers
