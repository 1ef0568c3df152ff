"""Begin a long job with the Vertex AI SDK, cancel it, and wait until it has ended."""

import json
import os
import time

import vertexai
from vertexai.tuning import sft

vertexai.init(
    project=os.environ["GOOGLE_CLOUD_PROJECT"],
    location=os.environ["GOOGLE_CLOUD_LOCATION"],
    api_endpoint=os.environ["URL"],
    api_transport="rest",
)
job = sft.train(source_model="gemini-1.5-flash-002", train_dataset=os.environ["TRAIN"], epochs=500, adapter_size=1)
job.cancel()
while not job.has_ended:
    time.sleep(0.2)
    job.refresh()
refused = []
for arguments in ({"adapter_size": 16}, {"train_dataset": "t.jsonl"}, {"source_model": "gemini-9"}):
    wanted = {"source_model": "gemini-1.5-pro-002", "train_dataset": os.environ["TRAIN"], **arguments}
    try:
        refused.append(sft.train(**wanted).resource_name)
    except Exception as error:
        refused.append([type(error).__name__, getattr(error, "code", 0), getattr(error, "message", str(error))])
print(
    json.dumps({"state": job.state.name, "error": job.error.code, "succeeded": job.has_succeeded, "refused": refused})
)
