"""Follow a run with the wait bar, and draw its losses as a table."""

import json
import os
import time

import google.generativeai as genai
import pandas as pd

genai.configure(
    api_key=os.environ["GOOGLE_API_KEY"],
    transport=os.environ["TRANSPORT"],
    client_options={"api_endpoint": os.environ["API_ENDPOINT"]},
)

operation = genai.create_tuned_model(
    "models/gemini-1.0-pro-001",
    [("1", "2"), ("3", "4"), ("8", "9"), ("one", "two"), ("three", "four"), ("seven", "eight")] * 2,
    display_name="number generator",
    description="Counts by one.",
    temperature=0.3,
    top_p=0.9,
    top_k=20,
    epoch_count=5,
    batch_size=4,
    learning_rate=0.001,
)
begun = operation.metadata
seen = []
for status in operation.wait_bar():
    seen.append(status)
    time.sleep(0.1)
ended = operation.metadata
model = operation.result()
again = genai.get_operation(operation.name)

# The SDK leaves zeros out of its dicts.
table = pd.DataFrame(model.tuning_task.snapshots).fillna(0)
print(
    json.dumps(
        {
            "operation": operation.name,
            "begun": {"model": begun.tuned_model, "total_steps": begun.total_steps, "snapshots": len(begun.snapshots)},
            "completed_steps": [status.completed_steps for status in seen] + [ended.completed_steps],
            "completed_percent": [status.completed_percent for status in seen] + [ended.completed_percent],
            "total_steps": ended.total_steps,
            "done_when_asked_again": again.done(),
            "model": {
                "name": model.name,
                "source_model": model.source_model,
                "base_model": model.base_model,
                "display_name": model.display_name,
                "description": model.description,
                "state": model.state.name,
                "temperature": model.temperature,
                "top_p": model.top_p,
                "top_k": model.top_k,
                "epoch_count": model.tuning_task.hyperparameters.epoch_count,
                "batch_size": model.tuning_task.hyperparameters.batch_size,
                "learning_rate": model.tuning_task.hyperparameters.learning_rate,
            },
            "in_order": model.create_time <= model.tuning_task.start_time <= model.tuning_task.complete_time,
            "columns": sorted(table.columns),
            "steps": table["step"].tolist(),
            "epochs": table["epoch"].tolist(),
            "losses": table["mean_loss"].tolist(),
        }
    )
)
