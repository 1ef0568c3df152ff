"""Tune with a release of google-genai that leaves the examples out of what it sends."""

import json

from google import genai
from google.genai import errors, types

client = genai.Client()
examples = [types.TuningExample(text_input="1", output="2"), types.TuningExample(text_input="3", output="4")]
try:
    client.tunings.tune(
        base_model="models/gemini-1.5-flash-001-tuning",
        training_dataset=types.TuningDataset(examples=examples),
        config=types.CreateTuningJobConfig(epoch_count=5, batch_size=4, learning_rate=0.001),
    )
    told = [200, "OK", "it worked"]
except errors.ClientError as error:
    told = [error.code, error.status, error.message]
print(json.dumps(told))
