"""Teach a model to count: what people wrote in 2024 from the tuning quickstart. Only the key and the address differ."""

import os
import random
import time

import google.generativeai as genai
import pandas as pd

genai.configure(
    api_key=os.environ["GOOGLE_API_KEY"],
    transport=os.environ["TRANSPORT"],
    client_options={"api_endpoint": os.environ["API_ENDPOINT"]},
)

tunable = [model for model in genai.list_models() if "createTunedModel" in model.supported_generation_methods]
base_model = next(model for model in tunable if "flash" in model.name)
print("base:", base_model.name)

name = f"generate-num-{random.randint(0, 10000)}"
operation = genai.create_tuned_model(
    source_model=base_model.name,
    training_data=[
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
    ],
    id=name,
    epoch_count=20,
    batch_size=4,
    learning_rate=0.001,
)
print("metadata:", operation.metadata.tuned_model, operation.metadata.total_steps)

model = genai.get_tuned_model(f"tunedModels/{name}")
print("state:", model.state.name)

for status in operation.wait_bar():
    print("step:", status.completed_steps)
    time.sleep(0.2)

model = operation.result()
print("state:", model.state.name)

snapshots = pd.DataFrame(model.tuning_task.snapshots)
by_epoch = snapshots.groupby("epoch")["mean_loss"].mean()
print("losses:", len(snapshots), "first", by_epoch.iloc[0], "last", by_epoch.iloc[-1])

model = genai.GenerativeModel(model_name=f"tunedModels/{name}")
for prompt in ["55", "123455", "four", "quatre", "III", "七"]:
    result = model.generate_content(prompt)
    print("answer:", prompt, "->", result.text)

genai.update_tuned_model(f"tunedModels/{name}", {"description": "This is my model."})
print("description:", genai.get_tuned_model(f"tunedModels/{name}").description)

genai.delete_tuned_model(f"tunedModels/{name}")
try:
    genai.get_tuned_model(f"tunedModels/{name}")
except Exception as error:
    print("gone:", type(error).__name__, error)
