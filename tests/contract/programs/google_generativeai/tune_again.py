"""Tune a tuned model further."""

import json
import os

import google.generativeai as genai

genai.configure(
    api_key=os.environ["GOOGLE_API_KEY"],
    transport=os.environ["TRANSPORT"],
    client_options={"api_endpoint": os.environ["API_ENDPOINT"]},
)

source = genai.get_tuned_model(os.environ["MODEL"])
data = [("1", "2"), ("3", "4"), ("-3", "-2"), ("8", "9"), ("one", "two"), ("three", "four"), ("seven", "eight")]
again = genai.create_tuned_model(source, data, display_name="counts better", epoch_count=1, batch_size=4).result()
afresh = genai.create_tuned_model(source.base_model, data, epoch_count=1, batch_size=4).result()
print(
    json.dumps(
        {
            "state": again.state.name,
            "source_model": again.source_model,
            "base_model": again.base_model,
            "first_loss": again.tuning_task.snapshots[0]["mean_loss"],
            "first_loss_afresh": afresh.tuning_task.snapshots[0]["mean_loss"],
            "listed": again.name in [model.name for model in genai.list_tuned_models()],
            "answer": genai.GenerativeModel(again.name).generate_content("3").text,
        }
    )
)
