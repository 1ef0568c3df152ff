"""Begin a job with the Vertex AI SDK and wait for it, by the loop of Google's samples."""

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
job = sft.train(
    source_model="gemini-1.5-flash-002", train_dataset=os.environ["TRAIN"], epochs=int(os.environ["EPOCHS"])
)
while not job.has_ended:
    time.sleep(0.3)
    job.refresh()
print(json.dumps({"name": job.resource_name, "state": job.state.name, "endpoint": job.tuned_model_endpoint_name}))
