"""The tuning tutorial's Python cells of March 2024. Only address, token and patience come from outside."""

import json
import os
import time

import requests

base_url = os.environ["BASE_URL"]
access_token = os.environ["ACCESS_TOKEN"]
project = "my-project-id"

headers = {
    "Authorization": "Bearer " + access_token,
    "Content-Type": "application/json",
    "x-goog-user-project": project,
}

result = requests.get(url=f"{base_url}/v1beta/tunedModels", headers=headers)
print("before:", result.json().keys() <= {"tunedModels", "nextPageToken"})

operation = requests.post(
    url=f"{base_url}/v1beta/tunedModels",
    headers=headers,
    json={
        "display_name": "number generator",
        "base_model": "models/gemini-1.0-pro-001",
        "tuning_task": {
            "hyperparameters": {"batch_size": 4, "learning_rate": 0.001, "epoch_count": 5},
            "training_data": {
                "examples": {
                    "examples": [
                        {"text_input": "1", "output": "2"},
                        {"text_input": "3", "output": "4"},
                        {"text_input": "-3", "output": "-2"},
                        {"text_input": "twenty two", "output": "twenty three"},
                        {"text_input": "two hundred", "output": "two hundred one"},
                        {"text_input": "ninety nine", "output": "one hundred"},
                        {"text_input": "8", "output": "9"},
                        {"text_input": "-98", "output": "-97"},
                        {"text_input": "1,000", "output": "1,001"},
                        {"text_input": "10,100,000", "output": "10,100,001"},
                        {"text_input": "thirteen", "output": "fourteen"},
                        {"text_input": "eighty", "output": "eighty one"},
                        {"text_input": "one", "output": "two"},
                        {"text_input": "three", "output": "four"},
                        {"text_input": "seven", "output": "eight"},
                    ]
                }
            },
        },
    },
)
print("created:", operation)
name = operation.json()["metadata"]["tunedModel"]
print("name:", name)

op_json = operation.json()
response = op_json.get("response")
error = op_json.get("error")

while response is None and error is None:
    time.sleep(float(os.environ["PATIENCE"]))

    operation = requests.get(url=f"{base_url}/v1/{op_json['name']}", headers=headers)

    op_json = operation.json()
    response = op_json.get("response")
    error = op_json.get("error")

    percent = op_json["metadata"].get("completedPercent")
    if percent is not None:
        print(f"{percent:.2f}% - {op_json['metadata']['snapshots'][-1]}")

if error is not None:
    raise Exception(error)

tuned_model = requests.get(url=f"{base_url}/v1beta/{name}", headers=headers)
print("model:", json.dumps(tuned_model.json()))

for text in ["六", ""]:
    m = requests.post(
        url=f"{base_url}/v1beta/{name}:generateContent",
        headers=headers,
        json={"contents": [{"parts": [{"text": text}]}]},
    )
    print("answer:", m.status_code, json.dumps(m.json()))
