"""Construct a client as sample code does that keeps project and location in the environment."""

import json

from google import genai
from google.genai import errors

client = genai.Client(vertexai=True)
told = []
for call in (
    lambda: client.tunings.get(name="tuningJobs/1"),
    lambda: client.models.generate_content(model="gemini-1.5-flash-002", contents="1"),
):
    try:
        call()
        told.append("answered")
    except errors.ClientError as error:
        told.append([error.code, error.status, error.message])
print(json.dumps(told))
