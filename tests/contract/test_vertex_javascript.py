"""@google/genai in Vertex AI mode, unmodified, in Node."""

import re

from contract.environments import NodeEnvironment

PARENT = r"projects/lab-7/locations/us-central1"


def test_a_job_is_tuned_followed_called_and_another_one_cancelled(vertex_told, training_files):
    client = NodeEnvironment("google-genai-js-3.3.0")
    tuned = vertex_told(client, "vertex_js/tune.mjs", DISPLAY_NAME="Node counts", **training_files)

    assert not tuned.get("error")
    assert re.fullmatch(rf"{PARENT}/tuningJobs/\d{{1,19}}", tuned["name"])
    assert tuned["states"][0] == "JOB_STATE_PENDING"
    assert tuned["states"][-1] == "JOB_STATE_SUCCEEDED"
    assert re.fullmatch(rf"{PARENT}/models/\d{{1,19}}@1", tuned["tuned_model"])
    assert tuned["text"] == "".join(tuned["pieces"])
    assert tuned["text"]
    assert tuned["thoughtless"]
    assert tuned["counted"] > 0
    assert tuned["listed"] == [True, True]
    assert tuned["stopped"] == ["JOB_STATE_CANCELLED", 1]
    assert tuned["refused"] == 404
