"""List, read, change and delete tuned models."""

import json
import os

import google.generativeai as genai
from google.api_core import exceptions

genai.configure(
    api_key=os.environ["GOOGLE_API_KEY"],
    transport=os.environ["TRANSPORT"],
    client_options={"api_endpoint": os.environ["API_ENDPOINT"]},
)

prefix = os.environ["PREFIX"]
operations = [
    genai.create_tuned_model("models/gemini-1.5-flash-001-tuning", [("1", "2")], id=f"{prefix}-{number}", epoch_count=1)
    for number in range(3)
]
for operation in operations:
    operation.result()
name = f"tunedModels/{prefix}-0"

listed = [model.name for model in genai.list_tuned_models(page_size=2)]
before = genai.get_tuned_model(name)
updated = genai.update_tuned_model(name, {"display_name": "Renamed", "description": "Counts.", "temperature": 0.25})
fetched = genai.get_model(name)

genai.delete_tuned_model(name)
try:
    genai.get_tuned_model(name)
    after = "still there"
except exceptions.NotFound as error:
    after = error.message
print(
    json.dumps(
        {
            "listed": [name for name in listed if prefix in name],
            "updated": [updated.display_name, updated.description, updated.temperature],
            "fetched": [fetched.display_name, fetched.description, fetched.temperature],
            "kept": [fetched.top_p == before.top_p, fetched.top_k == before.top_k, fetched.state.name],
            "moved": fetched.update_time > before.update_time,
            "after": after,
            "left": [model.name for model in genai.list_tuned_models() if prefix in model.name],
        }
    )
)
