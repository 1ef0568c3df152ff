"""The tuning tutorial's Python cells with requests, in their printed shape.

The loop creates under one version of the API and polls under another, indexes `snapshots[-1]` whenever there is a
percentage, and waits until `response` or `error` is there.
"""

import json
import re

import pytest

from contract.environments import PythonEnvironment

CLIENT = PythonEnvironment("requests-2.34.2")


@pytest.fixture
def cells(run, server, access_token):
    """Runs the cells; what they printed, by the word before the colon."""

    def cells(patience):
        variables = {"BASE_URL": server.url, "ACCESS_TOKEN": access_token, "PATIENCE": str(patience)}
        printed = {}
        for line in run(CLIENT, "tutorial/number_generator.py", **variables).splitlines():
            word, _, rest = line.partition(": ") if "% - " not in line else ("progress", "", line)
            printed.setdefault(word, []).append(rest)
        return printed

    return cells


def test_the_python_cells_work_as_they_are_printed(cells):
    printed = cells(patience=0.05)

    assert printed["before"] == ["True"]
    assert printed["created"] == ["<Response [200]>"]
    (name,) = printed["name"]
    assert re.fullmatch("tunedModels/number-generator-[a-z0-9]{11,12}", name)
    assert printed["progress"][-1].startswith("100.00% - {'step': 19, 'epoch': 5, 'meanLoss': ")
    model = json.loads(printed["model"][0])
    assert model["name"] == name
    assert model["state"] == "ACTIVE"
    assert len(model["tuningTask"]["snapshots"]) == 19
    assert "trainingData" not in model["tuningTask"]
    numeral, empty = (answer.split(" ", 1) for answer in printed["answer"])
    content = json.loads(numeral[1])["candidates"][0]["content"]
    assert content == {"parts": [{"text": content["parts"][0]["text"]}], "role": "model"}
    # Arithmetic differs in its last bits between machines; how often the numeral is right is measured elsewhere.
    assert set(content["parts"][0]["text"]) <= set("一二三四五六七八九十")
    # In print the cell lost its numeral, so an empty text is what many have sent: an answer or a refusal, no fault.
    assert empty[0] in {"200", "400"}


def test_a_poll_never_sees_a_percentage_without_a_snapshot(cells):
    percents = [float(line.partition("%")[0]) for line in cells(patience=0)["progress"]]

    assert percents == sorted(percents)
    assert percents[-1] == 100
