"""A sample of Google's documentation for the Vertex AI SDK; only the transport is named, since gRPC is not served."""

import json
import os
import time

import vertexai
from vertexai.generative_models import GenerativeModel
from vertexai.tuning import sft

vertexai.init(project=os.environ["GOOGLE_CLOUD_PROJECT"], location="us-central1", api_transport="rest")

sft_tuning_job = sft.train(source_model="gemini-1.5-flash-002", train_dataset=os.environ["TRAIN"], epochs=1)

while not sft_tuning_job.has_ended:
    time.sleep(1)
    sft_tuning_job.refresh()

tuned_model = GenerativeModel(sft_tuning_job.tuned_model_endpoint_name)
text = tuned_model.generate_content("ninety nine").text
state = sft_tuning_job.state.name
print(json.dumps({"state": state, "endpoint": sft_tuning_job.tuned_model_endpoint_name, "text": text}))
