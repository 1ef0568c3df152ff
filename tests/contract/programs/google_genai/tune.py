"""Tune with examples, which google-genai sent until 1.46."""

import json
import os
import time

from google import genai
from google.genai import types

client = genai.Client()

examples = [("1", "2"), ("3", "4"), ("-3", "-2"), ("8", "9"), ("one", "two"), ("three", "four"), ("seven", "eight")]
dataset = types.TuningDataset(
    examples=[types.TuningExample(text_input=text_input, output=output) for text_input, output in examples]
)

begun = client.tunings.tune(
    base_model="models/gemini-1.5-flash-001-tuning",
    training_dataset=dataset,
    config=types.CreateTuningJobConfig(
        epoch_count=4, batch_size=4, learning_rate=0.001, tuned_model_display_name=os.environ["DISPLAY_NAME"]
    ),
)
job = begun
while not job.has_ended:
    time.sleep(0.1)
    job = client.tunings.get(name=job.name)
answer = client.models.generate_content(model=job.tuned_model.model, contents="3")

plain = client.tunings.tune(base_model="gemini-1.5-flash-001-tuning", training_dataset=dataset)
listed = [listed.name for listed in client.tunings.list(config={"page_size": 5})]

long = client.tunings.tune(
    base_model="models/gemini-1.5-flash-001-tuning",
    training_dataset=dataset,
    config={"epoch_count": 1000, "batch_size": 1},
)
client.tunings.cancel(name=long.name)
stopped = client.tunings.get(name=long.name)
while not stopped.has_ended:
    time.sleep(0.1)
    stopped = client.tunings.get(name=long.name)

print(
    json.dumps(
        {
            "begun": [begun.name, begun.state.name],
            "state": job.state.name,
            "succeeded": job.has_succeeded,
            "base_model": job.base_model,
            "model": job.tuned_model.model,
            "endpoint": job.tuned_model.endpoint,
            "in_order": job.create_time <= job.start_time <= job.end_time,
            "answer": answer.text,
            "listed": [name in listed for name in (begun.name, plain.name)],
            "stopped": stopped.state.name,
        }
    )
)
