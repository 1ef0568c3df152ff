"""google-generativeai 0.8.6, the SDK of the tuning era, and 0.2.2, that of the PaLM generation, unmodified."""

import re
from uuid import uuid4

import pytest

from contract.environments import PythonEnvironment

CLIENT = PythonEnvironment("google-generativeai-0.8.6")
OF_PALM = PythonEnvironment("google-generativeai-0.2.2")
BASE = "models/gemini-1.5-flash-001-tuning"


@pytest.fixture
def over_grpc(server, grpc_port):
    """The variables that point a program at the server over TLS, with the root certificate that the server made."""
    root = server.data_directory / "tls" / "root.pem"
    return {"API_ENDPOINT": f"localhost:{grpc_port}", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(root)}


@pytest.fixture(params=["rest", "grpc"])
def transport(request, server, over_grpc):
    """The variables that point a program at the server over one of the SDK's transports."""
    return {"TRANSPORT": request.param, **({"API_ENDPOINT": server.url} if request.param == "rest" else over_grpc)}


@pytest.fixture
def fresh():
    """A model id that no other story uses."""
    return f"story-{uuid4().hex[:12]}"


def test_a_program_of_2024_runs_as_it_did(run, transport):
    printed = run(CLIENT, "google_generativeai/quickstart_2024.py", **transport)

    assert re.match(
        rf"""base: {BASE}
metadata: (?P<model>tunedModels/generate-num-\d+) 75
state: CREATING
(step: \d+\n)+state: ACTIVE
losses: 75 first \d\.\d+ last \d\.\d+
answer: 55 -> \d+
answer: 123455 -> \d+
answer: four -> \w[\w ]+
answer: quatre -> .+
answer: III -> .+
answer: 七 -> .+
description: This is my model\.
gone: NotFound 404 .*Tuned model (?P=model) does not exist\.
$""",
        printed,
    ), printed
    first, last = re.search(r"first (\S+) last (\S+)", printed).groups()
    assert float(last) < float(first) / 2


def test_a_program_of_2023_for_palm_runs_as_it_did(run, server, fresh):
    variables = {"TRANSPORT": "rest", "API_ENDPOINT": server.url, "MODEL_ID": fresh}
    printed = run(OF_PALM, "google_generativeai/palm_2023.py", **variables)

    assert re.match(
        r"""base: models/text-bison-001 8196 1024
state: ACTIVE models/text-bison-001
answer: 55 -> \d+
answer: four -> \w+
base answers: True
description: This is my model\.
left: False
$""",
        printed,
    ), printed


def test_training_data_may_come_as_list_dict_table_csv_and_json(told, transport):
    forms = told(CLIENT, "google_generativeai/training_data.py", **transport)

    assert {form["state"] for form in forms.values()} == {"ACTIVE"}
    assert {form["steps"] for form in forms.values()} == {7}
    assert [form["display_name"] for form in forms.values()] == list(forms)
    assert all(
        re.fullmatch(rf"tunedModels/{name.lower().replace(' ', '-')}-[a-z0-9]{{11,12}}", form["name"])
        for name, form in forms.items()
    )
    # The same examples, however they were given.
    assert len({form["first_loss"] for form in forms.values()}) == 1


def test_a_run_is_followed_by_its_wait_bar_and_its_losses_make_a_table(told, transport):
    run = told(CLIENT, "google_generativeai/wait.py", **transport)

    name = run["begun"]["model"]
    assert re.fullmatch(r"tunedModels/number-generator-[a-z0-9]{11,12}", name)
    assert run["operation"].startswith(f"{name}/operations/")
    # 12 examples, 5 epochs, batches of 4.
    assert run["begun"] == {"model": name, "total_steps": 15, "snapshots": 0}
    assert run["completed_steps"] == sorted(run["completed_steps"])
    assert run["completed_steps"][-1] == run["total_steps"] == 15
    assert run["completed_percent"][-1] == 100
    assert run["done_when_asked_again"]
    rate = run["model"].pop("learning_rate")
    assert rate == pytest.approx(0.001)
    assert {key: run["model"].pop(key) for key in ("temperature", "top_p")} == pytest.approx(
        {"temperature": 0.3, "top_p": 0.9}
    )
    assert run["model"] == {
        "name": name,
        "source_model": "models/gemini-1.0-pro-001",
        "base_model": "models/gemini-1.0-pro-001",
        "display_name": "number generator",
        "description": "Counts by one.",
        "state": "ACTIVE",
        "top_k": 20,
        "epoch_count": 5,
        "batch_size": 4,
    }
    assert run["in_order"]
    assert run["columns"] == ["compute_time", "epoch", "mean_loss", "step"]
    assert run["steps"] == list(range(1, 16))
    assert run["epochs"] == [step * 4 // 12 for step in run["steps"]]
    assert run["losses"][-1] < run["losses"][0]


def test_tuned_models_are_listed_updated_and_deleted(told, transport, fresh):
    managed = told(CLIENT, "google_generativeai/manage.py", **transport, PREFIX=fresh)

    names = [f"tunedModels/{fresh}-{number}" for number in range(3)]
    assert managed["listed"] == names
    assert managed["updated"] == managed["fetched"] == ["Renamed", "Counts.", 0.25]
    assert managed["kept"] == [True, True, "ACTIVE"]
    assert managed["moved"]
    assert managed["after"].endswith(f"Tuned model {names[0]} does not exist.")
    assert managed["left"] == names[1:]


def test_a_model_is_shared_with_a_person_a_group_and_everybody(told, transport, fresh, operate, person):
    team = f"{fresh}@googlegroups.com"
    operate("groups", "add", team, "member@example.com")

    shared = told(
        *(CLIENT, "google_generativeai/permissions.py"),
        **{**transport, "MODEL_ID": fresh, "PERSON": "writer@example.com", "GROUP": team},
    )

    owner, reader = ["OWNER", "USER", "me@localhost"], ["READER", "USER", "writer@example.com"]
    group, everyone = ["WRITER", "GROUP", team], ["READER", "EVERYONE", None]
    writer = ["WRITER", "USER", "writer@example.com"]
    assert shared["at_first"] == [owner]
    assert shared["made"] == [reader, group, everyone]
    assert all(re.fullmatch(rf"tunedModels/{fresh}/permissions/[a-z0-9]+", name) for name in shared["names"])
    assert sorted(shared["shared"], key=str) == sorted([owner, reader, group, everyone], key=str)
    assert shared["fetched"] == reader
    assert shared["promoted"] == writer
    assert shared["after"] == "gone"
    assert sorted(shared["left"]) == sorted([owner, writer, group])
    # And it is so: a writer and a member of the group may change the model; who was never named may not see it.
    path = f"/v1beta/tunedModels/{fresh}"
    for email in ("writer@example.com", "member@example.com"):
        assert person(email).patch(path, json={"description": email}).json()["description"] == email
    assert person("stranger@example.com").get(path).status_code == 403


def test_a_model_is_handed_over_to_a_new_owner(told, transport, fresh, person):
    handed = told(CLIENT, "google_generativeai/transfer.py", **transport, MODEL_ID=fresh, PERSON="heir@example.com")

    assert handed["permissions"] == {"heir@example.com": "OWNER", "me@localhost": "WRITER"}
    assert f"You do not have permission to access tuned model tunedModels/{fresh}" in handed["deleting"]
    assert "You need to be the owner of the resource to transfer ownership" in handed["again"]
    assert person("heir@example.com").delete(f"/v1beta/tunedModels/{fresh}").json() == {}


def test_a_cancelled_run_raises_and_leaves_a_model_that_answers(told, transport):
    ended = told(CLIENT, "google_generativeai/cancel.py", **transport)

    assert "cancelled" in ended["result"]
    assert ended["cancelled"]
    assert ended["done"]
    assert 0 < ended["completed_steps"] < ended["total_steps"]
    assert ended["state"] == "ACTIVE"
    assert ended["answer"] is not None


def test_a_tuned_model_answers_streams_and_chats(told, transport, counting, answer_of):
    answered = told(CLIENT, "google_generativeai/generate.py", **transport, MODEL=counting, PROMPT="ninety nine")

    expected = answer_of(counting, "ninety nine")
    assert answered["text"] == answered["streamed_text"] == answered["configured"] == expected
    assert answered["role"] == "model"
    assert answered["finish_reason"] == answered["streamed_finish_reason"] == "STOP"
    prompt_tokens, answer_tokens, total_tokens = answered["usage"]
    assert prompt_tokens > 0
    assert answer_tokens > 0
    assert total_tokens == prompt_tokens + answer_tokens
    assert "".join(answered["pieces"]) == expected
    assert len(answered["pieces"]) > 1
    assert answered["cut"] == [expected[:1], "MAX_TOKENS"]
    assert answered["stopped"] == [expected.partition(expected[-1])[0], "STOP"]
    assert answered["chat"] == ["user", "model", "user", "model"]
    assert answered["second"]


def test_a_model_under_its_own_name_answers_in_json_and_in_one_word(told, transport, own_counting):
    answered = told(CLIENT, "google_generativeai/json_mode.py", **transport, MODEL=own_counting)

    assert set(answered["shaped"]) == {"parity", "about"}
    assert answered["shaped"]["parity"] in {"even", "odd"}
    assert len(answered["shaped"]["about"]) in {1, 2}
    assert all(isinstance(truth, bool) for truth in answered["shaped"]["about"])
    assert answered["chosen"] in {"even", "odd"}


def test_a_tuned_model_is_tuned_further(told, transport, counting):
    tuned = told(CLIENT, "google_generativeai/tune_again.py", **transport, MODEL=counting)

    assert tuned["state"] == "ACTIVE"
    assert tuned["source_model"] == counting
    assert tuned["base_model"] == BASE
    assert tuned["listed"]
    # It starts from what its source has learned.
    assert tuned["first_loss"] < tuned["first_loss_afresh"] / 2
    assert tuned["answer"]


def test_a_rate_that_was_given_as_a_multiplier_is_read_as_a_rate(told, transport, server, fresh):
    pair = {"examples": {"examples": [{"textInput": "1", "output": "2"}]}}
    task = {"hyperparameters": {"learningRateMultiplier": 2}, "trainingData": pair}
    with server.client() as client:
        # As plain `requests` or curl do it, which are shown the multiplier.
        body = {"baseModel": BASE, "tuningTask": task}
        created = client.post("/v1beta/tunedModels", params={"tunedModelId": fresh}, json=body).json()
        shown = client.get(f"/v1beta/tunedModels/{fresh}").json()["tuningTask"]["hyperparameters"]
    rates = told(
        CLIENT,
        "google_generativeai/multiplier.py",
        **transport,
        MODEL=f"tunedModels/{fresh}",
        OPERATION=created["name"],
    )

    assert shown["learningRateMultiplier"] == 2
    assert set(rates) == {"result", "listed", "read", "updated"}
    assert {round(rate, 9) for rate in rates.values()} == {0.002}


def test_what_cannot_be_done_raises_the_exception_of_its_kind(told, transport, counting):
    refused = told(CLIENT, "google_generativeai/refusals.py", **transport, MODEL=counting)

    expected = {
        "read a model that is not there": (("NotFound",), "Tuned model tunedModels/nowhere does not exist."),
        "ask a model that is not there": (("NotFound",), "Tuned model tunedModels/nowhere does not exist."),
        "tune a base that is not there": (("NotFound",), "models/nothing is not found for API version v1beta"),
        "tune on nothing": (("BadRequest", "InvalidArgument"), "training_data"),
        "take a name twice": (("Conflict", "AlreadyExists"), f"Tuned model {counting} already exists."),
        "tune for no epoch": (("BadRequest", "InvalidArgument"), "epoch_count"),
        "ask for a system instruction": (
            ("BadRequest", "InvalidArgument"),
            f"Developer instruction is not enabled for {counting}",
        ),
        "ask for JSON": (("BadRequest", "InvalidArgument"), f"JSON mode is not enabled for {counting}"),
        "use a bad key": (("BadRequest", "InvalidArgument"), "API key not valid. Please pass a valid API key."),
    }
    assert set(refused) == set(expected)
    for attempt, (kinds, words) in expected.items():
        assert refused[attempt][0] in kinds, attempt
        assert words in refused[attempt][1], attempt


def test_the_default_transport_counts_waits_for_nobody_and_lists_operations(told, over_grpc, counting, answer_of):
    answered = told(
        CLIENT, "google_generativeai/default_transport.py", **over_grpc, MODEL=counting, PROMPT="ninety nine"
    )

    expected = answer_of(counting, "ninety nine")
    assert 0 < answered["counted"] <= answered["prompt_tokens"]
    assert answered["without_blocking"] == [expected, expected]
    assert answered["listed"]
    # A finished operation lives as long as its model.
    assert answered["done_after_its_deletion"]
