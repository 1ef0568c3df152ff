"""The tuning tutorial's shell cells, in their printed shape, against a live server.

Trailing commas, snake_case, a token with a project header, `grep state` on the printed JSON: all of it is how the
tutorial of March 2024 has it. Only the address is ours, and `tuningfork` where the tutorial says `gcloud`.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BODY = (Path(__file__).parents[1] / "data" / "tutorial_curl_body.txt").read_text(encoding="utf-8")

LOGIN = r"""
tuningfork auth application-default login \
    --client-id-file client_secret.json \
    --scopes='https://www.googleapis.com/auth/cloud-platform,https://www.googleapis.com/auth/generative-language.tuning'
"""

TOKEN = r"""
access_token=$(tuningfork auth application-default print-access-token)
echo -n $access_token
"""

LIST = r"""
curl -s -X GET ${base_url}/v1beta/tunedModels \
    -H "Content-Type: application/json" \
    -H "Authorization: Bearer ${access_token}" \
    -H "x-goog-user-project: ${project_id}"
"""

CREATE = r"""
curl -s -X POST $base_url/v1beta/tunedModels \
    -H 'Content-Type: application/json' \
    -H "Authorization: Bearer ${access_token}" \
    -H "x-goog-user-project: ${project_id}" \
    -d "$body" | tee tunemodel.json
"""

STATE = r"""
curl -s -X GET ${base_url}/v1beta/${modelname} \
    -H 'Content-Type: application/json' \
    -H "Authorization: Bearer ${access_token}" \
    -H "x-goog-user-project: ${project_id}" | grep state
"""

GENERATE = r"""
curl -X POST $base_url/v1beta/$modelname:generateContent \
    -H 'Content-Type: application/json' \
    -H "Authorization: Bearer ${access_token}" \
    -H "x-goog-user-project: ${project_id}" \
    -d '{
        "contents": [{
        "parts": [{
          "text": "LXIII"
          }]
        }]
        }' 2> /dev/null
"""


@pytest.fixture
def shell(server, operator_environment, tmp_path):
    """Runs a cell; what it printed. Logins are remembered below a home of its own."""
    variables = {
        **operator_environment,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "base_url": server.url,
        "project_id": "my-project-id",
        "body": BODY,
    }

    def run(cell, **more):
        ended = subprocess.run(
            ["bash", "-c", cell],
            cwd=tmp_path,
            env={**variables, **more},
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        return ended.stdout

    return run


def test_the_shell_cells_work_as_they_are_printed(shell, tmp_path):
    shell(LOGIN)
    credentials = {"access_token": shell(TOKEN)}
    listed = shell(LIST, **credentials)
    assert "tunedModels" in listed or listed == "{}\n"

    created = shell(CREATE, **credentials)
    first_page = json.loads((tmp_path / "tunemodel.json").read_text())
    modelname = first_page["metadata"]["tunedModel"]
    states = [
        shell(f"until ({STATE}) | tee state.txt | grep ACTIVE; do sleep 0.2; done", modelname=modelname, **credentials)
    ]
    answer = json.loads(shell(GENERATE, modelname=modelname, **credentials))

    # As the tutorial prints it: 296 bytes, names of its two random parts, and nothing that is 0 or false.
    assert re.fullmatch(
        r"""{
  "name": "tunedModels/number-generator-model-[a-z0-9]{12}/operations/[a-z0-9]{12}",
  "metadata": {
    "@type": "type\.googleapis\.com/google\.ai\.generativelanguage\.v1beta\.CreateTunedModelMetadata",
    "totalSteps": 38,
    "tunedModel": "tunedModels/number-generator-model-[a-z0-9]{12}"
  }
}
""",
        created,
    )
    assert states == ['  "state": "ACTIVE",\n']
    content = answer["candidates"][0]["content"]
    assert content == {"parts": [{"text": content["parts"][0]["text"]}], "role": "model"}
    # Arithmetic differs in its last bits between machines; how often the numeral is right is measured elsewhere.
    assert re.fullmatch("[IVXLCDM]+", content["parts"][0]["text"])
    assert answer["candidates"][0]["finishReason"] == "STOP"
    assert answer["candidates"][0]["index"] == 0
