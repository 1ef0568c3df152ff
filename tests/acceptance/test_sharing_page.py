"""The commands of docs/sharing.md, as they are printed, one after the other in one shell."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

PAGE = (Path(__file__).parents[2] / "docs" / "sharing.md").read_text(encoding="utf-8")
DEFAULT_SERVER = "http://127.0.0.1:8000"
ONE_EXAMPLE = {"examples": {"examples": [{"textInput": "1", "output": "2"}]}}


def test_the_pages_commands_share_a_model_in_every_way_and_give_it_away(server, tmp_path):
    body = {"baseModel": "models/gemini-1.0-pro-001", "tuningTask": {"trainingData": ONE_EXAMPLE}}
    keys = tmp_path / ".local/share/tuningfork"
    keys.mkdir(parents=True)
    (keys / "api-key").write_text(server.key)
    script = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
    assert script.count(DEFAULT_SERVER) == 1
    with server.client() as client:
        assert client.post("/v1beta/tunedModels?tunedModelId=my-model", json=body).is_success

        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script.replace(DEFAULT_SERVER, server.url)],
            env={
                "HOME": str(tmp_path),
                "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
                "TUNINGFORK_DATA_DIR": str(server.data_directory),
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

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
