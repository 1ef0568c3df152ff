"""Give create_tuned_model its examples in every form that it takes."""

import csv
import json
import os
from pathlib import Path

import google.generativeai as genai
import pandas as pd

genai.configure(
    api_key=os.environ["GOOGLE_API_KEY"],
    transport=os.environ["TRANSPORT"],
    client_options={"api_endpoint": os.environ["API_ENDPOINT"]},
)

pairs = [("1", "2"), ("3", "4"), ("-3", "-2"), ("8", "9"), ("one", "two"), ("three", "four"), ("七", "八")]
records = [{"text_input": text_input, "output": output} for text_input, output in pairs]
columns = {"text_input": [pair[0] for pair in pairs], "output": [pair[1] for pair in pairs]}

with Path("pairs.csv").open("w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file)
    writer.writerow(["question", "answer"])
    writer.writerows(pairs)
Path("records.json").write_text(json.dumps(records))
Path("columns.json").write_text(json.dumps(columns))

forms = {
    "list of dicts": {"training_data": records},
    "list of pairs": {"training_data": pairs},
    "dict of columns": {"training_data": columns},
    "table": {"training_data": pd.DataFrame(columns)},
    "CSV file": {"training_data": "pairs.csv", "input_key": "question", "output_key": "answer"},
    "JSON file of records": {"training_data": "records.json"},
    "JSON file of columns": {"training_data": Path("columns.json")},
}
operations = {
    form: genai.create_tuned_model(
        "models/gemini-1.5-flash-001-tuning", display_name=form, epoch_count=2, batch_size=2, **data
    )
    for form, data in forms.items()
}

told = {}
for form, operation in operations.items():
    model = operation.result()
    told[form] = {
        "name": model.name,
        "display_name": model.display_name,
        "state": model.state.name,
        "steps": len(model.tuning_task.snapshots),
        "first_loss": model.tuning_task.snapshots[0]["mean_loss"],
    }
print(json.dumps(told))
