"""Conversations to learn from: `multiturnExamples`, which `v1alpha` has and `v1beta` and `v1` do not."""

import pytest

from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.execution.dataset_file import DatasetFile

OWN_BASE, GEMINI_BASE = "models/echo-001", "models/gemini-1.0-pro-001"
PATH = "tuned_model.tuning_task.training_data.examples.multiturn_examples"


def content(role, *texts):
    return {"role": role, "parts": [{"text": text} for text in texts]}


CHAT = {
    "systemInstruction": {"parts": [{"text": "Be "}, {"text": "short."}]},
    "contents": [
        content("user", "Hi"),
        content("model", "Hel", "lo"),
        content("user", "Bye"),
        content("model", "Ciao"),
    ],
}
LEARNED = Conversation(
    turns=(
        Turn.said(Speaker.USER, "Hi"),
        Turn.said(Speaker.MODEL, "Hello"),
        Turn.said(Speaker.USER, "Bye"),
        Turn.said(Speaker.MODEL, "Ciao"),
    ),
    system_instruction="Be short.",
)


def body_of(*multiturn, pairs=(), base=OWN_BASE, **names):
    examples = {"multiturnExamples": list(multiturn), **({"examples": list(pairs)} if pairs else {}), **names}
    return {"baseModel": base, "tuningTask": {"trainingData": {"examples": examples}}}


def learned_by(caller):
    """The examples of the job that waits, as a trainer reads them."""
    assignment = caller.workshop.running.claim()
    with caller.workshop.executor.artifacts.reading(assignment.dataset) as dataset:
        return tuple(DatasetFile(dataset))


def test_system_text_and_all_turns_reach_the_trainer_behind_the_pairs(caller):
    body = body_of(CHAT, pairs=[{"textInput": "1", "output": "2"}])

    assert caller.post("/v1alpha/tunedModels", body).status_code == 200
    assert learned_by(caller) == (Conversation.pair("1", "2"), LEARNED)


def test_neighbours_of_one_role_are_one_turn_as_in_a_prompt(caller):
    chat = {"contents": [content("user", "Hi"), content("user", "there"), content("model", "Hello")]}

    assert caller.post("/v1alpha/tunedModels", body_of(chat)).status_code == 200
    assert learned_by(caller) == (Conversation.pair("Hi\nthere", "Hello"),)


@pytest.mark.parametrize("version", ["v1beta", "v1"])
def test_other_versions_do_not_know_the_field(caller, version):
    answer = caller.post(f"/{version}/tunedModels", body_of(CHAT))

    assert answer.status_code == 400
    assert 'Unknown name "multiturnExamples"' in answer.json()["error"]["message"]


def test_a_preview_takes_them_too(caller):
    answer = caller.post("/tuningfork/v1/tunedModels:preview", body_of(CHAT, pairs=[{"textInput": "1", "output": ""}]))

    (violation,) = answer.json()["error"]["details"][0]["fieldViolations"]
    assert violation["field"] == PATH.replace("multiturn_examples", "examples[0].output")


@pytest.mark.parametrize(
    ("chat", "field", "description"),
    [
        ({}, ".contents", "contents is missing"),
        ({"contents": [content("user", "a"), content("assistant", "b")]}, ".contents[1].role", "role must be user or"),
        ({"contents": [content("user", "a"), {"parts": [{"text": "b"}]}]}, ".contents[1].role", "role must be user or"),
        (
            {"contents": [content("user", "a"), {"role": "model", "parts": [{}]}]},
            ".contents[1].parts[0].text",
            "text is",
        ),
        ({"contents": [content("user", "a")]}, ".contents", "nothing is learned"),
        ({"contents": [content("model", "a"), content("user", "b")]}, ".contents[0]", "must follow a turn of the user"),
        ({"contents": [content("user", "a"), content("model", "")]}, ".output", "output must not be empty"),
    ],
)
def test_a_fault_is_told_at_its_place(caller, chat, field, description):
    answer = caller.post("/v1alpha/tunedModels", body_of(CHAT, chat, pairs=[{"textInput": "1", "output": "2"}]))

    assert answer.status_code == 400
    (violation,) = answer.json()["error"]["details"][0]["fieldViolations"]
    assert violation["field"].startswith(f"{PATH}[1]")
    assert description.lower() in violation["description"].lower()


def test_a_model_under_a_gemini_name_learns_from_pairs_only_as_its_guide_says(caller):
    refused = caller.post("/v1alpha/tunedModels", body_of(CHAT, base=GEMINI_BASE))
    pair = {"contents": [content("user", "1"), content("model", "2")]}

    (violation,) = refused.json()["error"]["details"][0]["fieldViolations"]
    assert (violation["field"], refused.status_code) == (f"{PATH}[0]", 400)
    assert "a conversation of 4 turns and a system instruction was given" in violation["description"]
    assert caller.post("/v1alpha/tunedModels", body_of(pair, base=GEMINI_BASE)).status_code == 200
