"""Google's own sample for the Vertex AI SDK: tune, wait, call; only the endpoint's address and transport are named."""

import json
import os
import time

import vertexai
from google.cloud import aiplatform
from vertexai.generative_models import GenerativeModel
from vertexai.tuning import sft

project, location = os.environ["GOOGLE_CLOUD_PROJECT"], os.environ["GOOGLE_CLOUD_LOCATION"]
vertexai.init(project=project, location=location, api_endpoint=os.environ["URL"], api_transport="rest")

sft_tuning_job = sft.train(
    source_model="gemini-1.5-flash-002",
    train_dataset=os.environ["TRAIN"],
    validation_dataset=os.environ["VALIDATION"],
    tuned_model_display_name=os.environ["DISPLAY_NAME"],
    epochs=3,
    learning_rate_multiplier=1.0,
    adapter_size=4,
    labels={"team": "counting"},
)
begun = sft_tuning_job.to_dict()

# Polling for job completion
states = [sft_tuning_job.state.name]
while not sft_tuning_job.has_ended:
    time.sleep(0.5)
    sft_tuning_job.refresh()
    states.append(sft_tuning_job.state.name)

ended = sft_tuning_job.to_dict()
again = sft.SupervisedTuningJob(sft_tuning_job.resource_name)
tuned_model = GenerativeModel(sft_tuning_job.tuned_model_endpoint_name)
answer = tuned_model.generate_content("ninety nine")
pieces = [chunk.text for chunk in tuned_model.generate_content("ninety nine", stream=True)]
counted = tuned_model.count_tokens("ninety nine")
registered = aiplatform.Model(sft_tuning_job.tuned_model_name)
endpoint = aiplatform.Endpoint(sft_tuning_job.tuned_model_endpoint_name)
listed = [job.resource_name for job in sft.SupervisedTuningJob.list()]

print(
    json.dumps(
        {
            "name": sft_tuning_job.resource_name,
            "begun": begun,
            "states": sorted(set(states), key=states.index),
            "error": str(sft_tuning_job.error or ""),
            "ended": ended,
            "same": again.to_dict() == ended,
            "tuned_model": sft_tuning_job.tuned_model_name,
            "endpoint": sft_tuning_job.tuned_model_endpoint_name,
            "answer": answer.text,
            "usage": answer.usage_metadata.total_token_count,
            "pieces": pieces,
            "counted": counted.total_tokens,
            "registered": [registered.display_name, registered.version_id, list(registered.version_aliases)],
            "deployed": [each.model for each in endpoint.list_models()],
            "listed": listed,
        }
    )
)
