"""Do what cannot be done, and look at the exceptions."""

import json
import os

import google.generativeai as genai
from google.api_core import exceptions

options = {"transport": os.environ["TRANSPORT"], "client_options": {"api_endpoint": os.environ["API_ENDPOINT"]}}
genai.configure(api_key=os.environ["GOOGLE_API_KEY"], **options)

base = "models/gemini-1.5-flash-001-tuning"
model = os.environ["MODEL"]
instructed = genai.GenerativeModel(model, system_instruction="Be brief.")
attempts = {
    "read a model that is not there": lambda: genai.get_tuned_model("tunedModels/nowhere"),
    "ask a model that is not there": lambda: genai.GenerativeModel("tunedModels/nowhere").generate_content("1"),
    "tune a base that is not there": lambda: genai.create_tuned_model("models/nothing", [("1", "2")]),
    "tune on nothing": lambda: genai.create_tuned_model(base, []),
    "take a name twice": lambda: genai.create_tuned_model(base, [("1", "2")], id=model.removeprefix("tunedModels/")),
    "tune for no epoch": lambda: genai.create_tuned_model(base, [("1", "2")], epoch_count=-1),
    "ask for a system instruction": lambda: instructed.generate_content("1"),
    "ask for JSON": lambda: genai.GenerativeModel(model).generate_content(
        "1", generation_config={"response_mime_type": "application/json"}
    ),
}
told = {}
for attempt, call in attempts.items():
    try:
        call()
        told[attempt] = ["it worked", ""]
    except exceptions.GoogleAPICallError as error:
        told[attempt] = [type(error).__name__, error.message]

genai.configure(api_key="not-a-key", **options)
try:
    genai.get_tuned_model(model)
except exceptions.GoogleAPICallError as error:
    told["use a bad key"] = [type(error).__name__, error.message]
print(json.dumps(told))
