"""What google-genai still does for tuned models: list, read, cancel, change and delete them."""

import json
import os
import time

from google import genai
from google.genai import errors, types

client = genai.Client()
name = os.environ["MODEL"]
running = os.environ["RUNNING"]

job = client.tunings.get(name=name)
at_work = client.tunings.get(name=running)
client.tunings.cancel(name=running)
stopped = client.tunings.get(name=running)
while not stopped.has_ended:
    time.sleep(0.1)
    stopped = client.tunings.get(name=running)

bases = [model.name for model in client.models.list()]
tuned = [model.name for model in client.models.list(config={"query_base": False, "page_size": 2})]
config = types.ListModelsConfig(query_base=False, filter=os.environ["FILTER"])
found = [model.name for model in client.models.list(config=config)]

got = client.models.get(model=name)
updated = client.models.update(model=name, config={"display_name": "Renamed", "description": "Counts."})
again = client.models.get(model=name)
client.models.delete(model=name)
try:
    client.models.get(model=name)
    after = ["still there"]
except errors.ClientError as error:
    after = [error.code, error.status, error.message]

print(
    json.dumps(
        {
            "job": [job.name, job.state.name, job.tuned_model.model, job.base_model],
            "in_order": job.create_time <= job.start_time <= job.end_time,
            "running": at_work.state.name,
            "stopped": stopped.state.name,
            "bases": bases,
            "tuned": tuned,
            "found": found,
            "got": [got.name, got.display_name, got.tuned_model_info.base_model],
            "updated": [updated.name, updated.display_name, updated.description],
            "again": [again.display_name, again.description],
            "after": after,
        }
    )
)
