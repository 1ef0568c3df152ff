"""Tune text-bison to count: what people wrote in 2023 for PaLM. Only the key and the address differ."""

import os
import time

import google.generativeai as palm

palm.configure(
    api_key=os.environ["GOOGLE_API_KEY"],
    transport=os.environ["TRANSPORT"],
    client_options={"api_endpoint": os.environ["API_ENDPOINT"]},
)

tunable = [model for model in palm.list_models() if "createTunedTextModel" in model.supported_generation_methods]
base_model = next(model for model in tunable if "bison" in model.name)
print("base:", base_model.name, base_model.input_token_limit, base_model.output_token_limit)

operation = palm.create_tuned_model(
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
    id=os.environ["MODEL_ID"],
    epoch_count=20,
    batch_size=4,
    learning_rate=0.001,
)
for _status in operation.wait_bar():
    time.sleep(0.2)

model = palm.get_tuned_model(f"tunedModels/{os.environ['MODEL_ID']}")
print("state:", model.state.name, model.base_model)

for prompt in ["55", "four"]:
    completion = palm.generate_text(model=model, prompt=prompt, temperature=0.0)
    print("answer:", prompt, "->", completion.result)
print("base answers:", palm.generate_text(model=base_model.name, prompt="55", temperature=0.0).result is not None)

palm.update_tuned_model(model.name, {"description": "This is my model."})
print("description:", palm.get_tuned_model(model.name).description)
palm.delete_tuned_model(model.name)
print("left:", model.name in [each.name for each in palm.list_tuned_models()])
