"""Hand a model over to somebody else."""

import json
import os

import google.generativeai as genai
from google.api_core import exceptions

genai.configure(
    api_key=os.environ["GOOGLE_API_KEY"],
    transport=os.environ["TRANSPORT"],
    client_options={"api_endpoint": os.environ["API_ENDPOINT"]},
)

model = genai.create_tuned_model(
    "models/gemini-1.5-flash-001-tuning", [("1", "2")], id=os.environ["MODEL_ID"], epoch_count=1
).result()
model.permissions.transfer_ownership(os.environ["PERSON"])
permissions = {permission.email_address: permission.role.name for permission in model.permissions.list()}
try:
    genai.delete_tuned_model(model.name)
    deleting = "deleted"
except exceptions.Forbidden as error:
    deleting = error.message
try:
    model.permissions.transfer_ownership(os.environ["PERSON"])
    again = "handed over"
except exceptions.Forbidden as error:
    again = error.message
print(json.dumps({"permissions": permissions, "deleting": deleting, "again": again}))
