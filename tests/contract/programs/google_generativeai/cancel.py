"""Begin a long run and think better of it."""

import json
import os
import time

import google.generativeai as genai
from google.api_core import exceptions

genai.configure(
    api_key=os.environ["GOOGLE_API_KEY"],
    transport=os.environ["TRANSPORT"],
    client_options={"api_endpoint": os.environ["API_ENDPOINT"]},
)

operation = genai.create_tuned_model(
    "models/gemini-1.5-flash-001-tuning",
    [("1", "2"), ("3", "4"), ("8", "9"), ("one", "two")],
    epoch_count=1000,
    batch_size=1,
)
while not operation.metadata.completed_steps:
    time.sleep(0.1)
    operation.update()
cancelling = operation.cancel()
try:
    operation.result()
    result = "a result"
except exceptions.Cancelled as error:
    result = error.message
model = genai.get_tuned_model(operation.metadata.tuned_model)
print(
    json.dumps(
        {
            "cancelling": cancelling,
            "result": result,
            "cancelled": operation.cancelled(),
            "done": operation.done(),
            "completed_steps": operation.metadata.completed_steps,
            "total_steps": operation.metadata.total_steps,
            "state": model.state.name,
            "answer": genai.GenerativeModel(model.name).generate_content("1").text,
        }
    )
)
