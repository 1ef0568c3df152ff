"""What programs for Vertex AI are given: variables, a file of credentials, and training files in a bucket."""

import json
import subprocess
import sys

from patience import PATIENCE_SECONDS
from tuningfork.tutorial import EXAMPLES

PROJECT = "lab-7"
LOCATION = "us-central1"


ADC_LOGIN = ("application-default", "login", "--adc")
"""The command that writes a file with a refresh token, which the client exchanges for access tokens."""
SERVICE_ACCOUNT = ("service-account", "create")
"""The command that writes the key file of a service account, by which the client signs assertions."""


def vertex_variables_of(server, directory, *, command=ADC_LOGIN):
    """The variables of a program for Vertex AI: where, for which project, and with which credentials; but no key.

    The file of credentials is written to `directory`, by the command that operators have for it.
    """
    file = directory / "adc.json"
    subprocess.run(
        [sys.executable, "-m", "tuningfork", "auth", *command, str(file), "--project", PROJECT],
        env={**server.environment, "XDG_CONFIG_HOME": str(directory)},
        capture_output=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    return {
        "URL": server.url,
        "API_ENDPOINT_OVERRIDE": server.url,
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "GOOGLE_CLOUD_LOCATION": LOCATION,
        "GOOGLE_APPLICATION_CREDENTIALS": str(file),
        "GOOGLE_API_KEY": "",
        "GOOGLE_GEMINI_BASE_URL": "",
    }


def training_files_of(server):
    """The addresses of a training file and of a validation file in a bucket: the tutorial's pairs, and five of them."""
    bucket = server.data_directory / "buckets" / "counting-files"
    bucket.mkdir(parents=True)
    for name, pairs in (("train", EXAMPLES), ("validation", EXAMPLES[:5])):
        rows = [
            {"contents": [{"role": "user", "parts": [{"text": asked}]}, {"role": "model", "parts": [{"text": said}]}]}
            for asked, said in pairs
        ]
        (bucket / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return {"TRAIN": "gs://counting-files/train.jsonl", "VALIDATION": "gs://counting-files/validation.jsonl"}
