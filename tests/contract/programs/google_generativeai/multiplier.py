"""Look in every way at a model whose rate somebody else gave as a multiplier, which this SDK cannot read."""

import json
import os

import google.generativeai as genai

genai.configure(
    api_key=os.environ["GOOGLE_API_KEY"],
    transport=os.environ["TRANSPORT"],
    client_options={"api_endpoint": os.environ["API_ENDPOINT"]},
)

name = os.environ["MODEL"]
operation = genai.get_operation(os.environ["OPERATION"])
bar = [status.completed_steps for status in operation.wait_bar()]
[listed] = [model for model in genai.list_tuned_models() if model.name == name]
seen = {
    "result": operation.result(),
    "listed": listed,
    "read": genai.get_tuned_model(name),
    "updated": genai.update_tuned_model(name, {"description": "twice as fast"}),
}
print(json.dumps({way: model.tuning_task.hyperparameters.learning_rate for way, model in seen.items()}))
