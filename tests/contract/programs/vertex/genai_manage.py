"""List jobs over pages, cancel one without a body, and meet refusals, with google-genai in Vertex AI mode."""

import json
import os
import time

from google import genai
from google.genai import errors, types

client = genai.Client(
    vertexai=True,
    project=os.environ["GOOGLE_CLOUD_PROJECT"],
    location=os.environ["GOOGLE_CLOUD_LOCATION"],
    http_options=types.HttpOptions(base_url=os.environ["URL"]),
)
elsewhere = genai.Client(
    vertexai=True,
    project=os.environ["GOOGLE_CLOUD_PROJECT"],
    location="europe-west4",
    http_options=types.HttpOptions(base_url=os.environ["URL"]),
)
dataset = types.TuningDataset(gcs_uri=os.environ["TRAIN"])
names = []
for _ in range(3):
    config = types.CreateTuningJobConfig(epoch_count=500, adapter_size="ADAPTER_SIZE_ONE")
    names.append(client.tunings.tune(base_model="gemini-1.5-flash-002", training_dataset=dataset, config=config).name)
listed = [job.name for job in client.tunings.list(config={"page_size": 1})]
of_elsewhere = [job.name for job in elsewhere.tunings.list(config={"page_size": 100})]
for name in names:
    client.tunings.cancel(name=name)
states = []
for name in names:
    job = client.tunings.get(name=name)
    while not job.has_ended:
        time.sleep(0.2)
        job = client.tunings.get(name=name)
    states.append([job.state.name, job.error.code])
cancelled = [job.name for job in client.tunings.list(config={"filter": 'state="JOB_STATE_CANCELLED"'})]


def refusal(call) -> list:
    try:
        return ["answered", str(call())]
    except errors.ClientError as error:
        return [error.code, error.status, error.message]


def tune(uri: str = os.environ["TRAIN"], base_model: str = "gemini-1.5-pro-002", **config: object):
    dataset = types.TuningDataset(gcs_uri=uri)
    return client.tunings.tune(base_model=base_model, training_dataset=dataset, config=config or None)


def of_elsewhere_by_name():
    return elsewhere.tunings.get(name=names[0].replace(os.environ["GOOGLE_CLOUD_LOCATION"], "europe-west4"))


print(
    json.dumps(
        {
            "names": names,
            "listed": listed,
            "elsewhere": of_elsewhere,
            "states": states,
            "cancelled": cancelled,
            "refused": {
                "adapter": refusal(lambda: tune(adapter_size="ADAPTER_SIZE_SIXTEEN")),
                "uri": refusal(lambda: tune("t.jsonl")),
                "missing": refusal(lambda: tune("gs://" + os.environ["BUCKET"] + "/nothing.jsonl")),
                "base": refusal(lambda: tune(base_model="gemini-9")),
                "job": refusal(lambda: client.tunings.get(name="tuningJobs/123")),
                "location": refusal(of_elsewhere_by_name),
                "endpoint": refusal(
                    lambda: client.models.generate_content(
                        model=names[0].rpartition("/tuningJobs/")[0] + "/endpoints/123", contents="1"
                    )
                ),
            },
        }
    )
)
