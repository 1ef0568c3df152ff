"""Tune with google-genai in Vertex AI mode, by a loop as Google's samples have it, and use what came of it."""

import json
import os
import time

from google import genai
from google.genai import types

client = genai.Client(
    vertexai=True,
    project=os.environ["GOOGLE_CLOUD_PROJECT"],
    location=os.environ["GOOGLE_CLOUD_LOCATION"],
    http_options=types.HttpOptions(base_url=os.environ["URL"]),
)
begun = client.tunings.tune(
    base_model="gemini-1.5-flash-002",
    training_dataset=types.TuningDataset(gcs_uri=os.environ["TRAIN"]),
    config=types.CreateTuningJobConfig(
        epoch_count=3,
        tuned_model_display_name=os.environ["DISPLAY_NAME"],
        validation_dataset=types.TuningValidationDataset(gcs_uri=os.environ["VALIDATION"]),
    ),
)
running_states = {"JOB_STATE_PENDING", "JOB_STATE_RUNNING"}
tuning_job, states = begun, [begun.state.name]
while tuning_job.state.name in running_states:
    time.sleep(0.5)
    tuning_job = client.tunings.get(name=tuning_job.name)
    states.append(tuning_job.state.name)

short = client.tunings.get(name="tuningJobs/" + tuning_job.name.rpartition("/")[2])
endpoint = tuning_job.tuned_model.endpoint
whole = client.models.generate_content(model=endpoint, contents="ninety nine")
chunks = list(client.models.generate_content_stream(model=endpoint, contents="ninety nine"))
counted = client.models.count_tokens(model=endpoint, contents="ninety nine")
computed = client.models.compute_tokens(model=endpoint, contents="ninety nine")
thoughtless = client.models.generate_content(
    model=endpoint,
    contents="ninety nine",
    config=types.GenerateContentConfig(
        temperature=0.0,
        top_k=3,
        max_output_tokens=100,
        thinking_config=types.ThinkingConfig(thinking_budget=0),
    ),
)
model = client.models.get(model=tuning_job.tuned_model.model)
found = [each.name for each in client.models.list(config={"query_base": False, "page_size": 1})]
checkpoints = tuning_job.tuned_model.checkpoints or []
firsts = [client.models.generate_content(model=each.endpoint, contents="ninety nine").text for each in checkpoints]
default = client.models.update(model=model.name, config=types.UpdateModelConfig(default_checkpoint_id="1"))
moved = client.tunings.get(name=tuning_job.name)
renamed = client.models.update(model=model.name, config={"display_name": "Renamed", "description": "Counts."})

print(
    json.dumps(
        {
            "name": tuning_job.name,
            "short": short.name,
            "states": sorted(set(states), key=states.index),
            "error": tuning_job.error and tuning_job.error.message,
            "base_model": tuning_job.base_model,
            "in_order": tuning_job.create_time <= tuning_job.start_time <= tuning_job.end_time,
            "examples": tuning_job.tuning_data_stats.supervised_tuning_data_stats.tuning_dataset_example_count,
            "tuned_model": tuning_job.tuned_model.model,
            "endpoint": endpoint,
            "text": whole.text,
            "pieces": [chunk.text for chunk in chunks],
            "finish_reason": chunks[-1].candidates[0].finish_reason.name,
            "counted": counted.total_tokens,
            "computed": [len(info.token_ids) for info in computed.tokens_info],
            "thoughtless": thoughtless.text,
            "model": [model.name, model.display_name, model.tuned_model_info.base_model],
            "found": found,
            "checkpoints": [[each.checkpoint_id, each.epoch, each.step, each.endpoint] for each in checkpoints],
            "of_checkpoints": firsts,
            "default": default.default_checkpoint_id,
            "moved": moved.tuned_model.endpoint,
            "renamed": [renamed.display_name, renamed.description],
        }
    )
)
