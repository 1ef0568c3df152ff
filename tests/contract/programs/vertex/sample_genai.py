"""A sample of Google's documentation, with its own three variables, and nothing about another server."""

import json
import os
import time

from google import genai
from google.genai.types import CreateTuningJobConfig, HttpOptions, TuningDataset

client = genai.Client(http_options=HttpOptions(api_version="v1beta1"))

training_dataset = TuningDataset(
    gcs_uri=os.environ["TRAIN"],
)
tuning_job = client.tunings.tune(
    base_model="gemini-1.5-flash-002",
    training_dataset=training_dataset,
    config=CreateTuningJobConfig(
        tuned_model_display_name="Example tuning job",
        epoch_count=1,
    ),
)

running_states = {"JOB_STATE_PENDING", "JOB_STATE_RUNNING"}

while tuning_job.state in running_states:
    print(tuning_job.state)
    tuning_job = client.tunings.get(name=tuning_job.name)
    time.sleep(1)

response = client.models.generate_content(model=tuning_job.tuned_model.endpoint, contents="ninety nine")
print(json.dumps({"state": tuning_job.state.name, "endpoint": tuning_job.tuned_model.endpoint, "text": response.text}))
