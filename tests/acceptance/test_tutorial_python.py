"""The tuning tutorial's Python cells, in their printed shape, against a live server.

httpx stands in for requests, whose `get` and `post` it shares. The loop creates under one version of the API and polls
under another, indexes `snapshots[-1]` whenever there is a percentage, and waits until `response` or `error` is there.
"""

import time

import httpx as requests
import pytest

from tuningfork.tutorial import EXAMPLES

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]


def tutorial(base_url, access_token, wait_seconds):
    """The cells one after the other; returns the printed lines, the model's name and a function that asks it."""
    printed = []
    headers = {
        "Authorization": "Bearer " + access_token,
        "Content-Type": "application/json",
        "x-goog-user-project": "my-project-id",
    }

    operation = requests.post(
        url=f"{base_url}/v1beta/tunedModels",
        headers=headers,
        json={
            "display_name": "number generator",
            "base_model": "models/gemini-1.0-pro-001",
            "tuning_task": {
                "hyperparameters": {"batch_size": 4, "learning_rate": 0.001, "epoch_count": 5},
                "training_data": {
                    "examples": {"examples": [{"text_input": number, "output": next_} for number, next_ in EXAMPLES]}
                },
            },
        },
    )
    assert operation.status_code == 200
    name = operation.json()["metadata"]["tunedModel"]

    op_json = operation.json()
    response = op_json.get("response")
    error = op_json.get("error")

    while response is None and error is None:
        time.sleep(wait_seconds)

        operation = requests.get(url=f"{base_url}/v1/{op_json['name']}", headers=headers)

        op_json = operation.json()
        response = op_json.get("response")
        error = op_json.get("error")

        percent = op_json["metadata"].get("completedPercent")
        if percent is not None:
            printed.append(f"{percent:.2f}% - {op_json['metadata']['snapshots'][-1]}")

    if error is not None:
        raise Exception(error)  # noqa: TRY002 - as the tutorial has it

    def ask(text):
        return requests.post(
            url=f"{base_url}/v1beta/{name}:generateContent",
            headers=headers,
            json={"contents": [{"parts": [{"text": text}]}]},
        )

    return printed, name, ask


def test_the_python_cells_work_as_they_are_printed(server):
    printed, name, ask = tutorial(server.url, server.key, wait_seconds=0.05)

    tuned_model = requests.get(f"{server.url}/v1beta/{name}", headers=server.headers).json()
    assert name.startswith("tunedModels/number-generator-")
    assert printed[-1].startswith("100.00% - {'step': 19, 'epoch': 5, 'meanLoss': ")
    assert tuned_model["state"] == "ACTIVE"
    assert len(tuned_model["tuningTask"]["snapshots"]) == 19
    assert "trainingData" not in tuned_model["tuningTask"]
    content = ask("六").json()["candidates"][0]["content"]
    assert content == {"parts": [{"text": content["parts"][0]["text"]}], "role": "model"}
    assert set(content["parts"][0]["text"]) <= set("一二三四五六七八九十")

    # In print the cell lost its numeral, so an empty text is what many have sent: an answer or a refusal, no fault.
    assert ask("").status_code in {200, 400}


def test_a_poll_never_sees_a_percentage_without_a_snapshot(server):
    printed, _, _ = tutorial(server.url, server.key, wait_seconds=0)

    percents = [float(line.partition("%")[0]) for line in printed]
    assert percents == sorted(percents)
    assert percents[-1] == 100
