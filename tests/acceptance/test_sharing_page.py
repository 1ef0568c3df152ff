"""The commands of docs/sharing.md, as they are printed, one after the other in one shell."""

import json
import re

import pytest

from printed_pages import page, run_printed_commands

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

ONE_EXAMPLE = {"examples": {"examples": [{"textInput": "1", "output": "2"}]}}


def test_the_pages_commands_share_a_model_in_every_way_and_give_it_away(server, tmp_path):
    body = {"baseModel": "models/gemini-1.0-pro-001", "tuningTask": {"trainingData": ONE_EXAMPLE}}
    keys = tmp_path / ".local/share/tuningfork"
    keys.mkdir(parents=True)
    (keys / "api-key").write_text(server.key)
    with server.client() as client:
        assert client.post("/v1beta/tunedModels?tunedModelId=my-model", json=body).is_success

        ended = run_printed_commands(page("sharing.md"), tmp_path, server)

        assert ended.returncode == 0, ended.stderr
        assert "\nbob@example.com\n{" in ended.stdout
        permissions = client.get("/v1beta/tunedModels/my-model/permissions").json()["permissions"]
        model = client.get("/v1beta/tunedModels/my-model").json()
    assert sorted((each.get("emailAddress", ""), each["granteeType"], each["role"]) for each in permissions) == [
        ("", "EVERYONE", "READER"),
        ("bob@example.com", "USER", "OWNER"),
        ("me@localhost", "USER", "WRITER"),
        ("team@example.com", "GROUP", "WRITER"),
    ]
    assert model["readerProjectNumbers"] == ["123456"]
    # Printed as they came, one answer after the other: the lists show the model, for both filters.
    answers = [json.loads(text) for text in re.findall(r"^\{\n.*?^\}$", ended.stdout, re.DOTALL | re.MULTILINE)]
    lists = [[each["name"] for each in answer["tunedModels"]] for answer in answers if "tunedModels" in answer]
    assert all("tunedModels/my-model" in names for names in lists)
    assert len(lists) == 2
