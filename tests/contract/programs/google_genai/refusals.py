"""Do what cannot be done, and look at the errors."""

import json
import os

from google import genai
from google.genai import errors

client = genai.Client()
stranger = genai.Client(api_key="not-a-key")
model = os.environ["MODEL"]
attempts = {
    "read a model that is not there": lambda: client.tunings.get(name="tunedModels/nowhere"),
    "ask a model that is not there": lambda: client.models.generate_content(model="tunedModels/nowhere", contents="1"),
    "ask a base that is not there": lambda: client.models.generate_content(model="nothing", contents="1"),
    "stream from a model that is not there": lambda: next(
        client.models.generate_content_stream(model="tunedModels/nowhere", contents="1")
    ),
    "ask for a system instruction": lambda: client.models.generate_content(
        model=model, contents="1", config={"system_instruction": "Be brief."}
    ),
    "ask for JSON": lambda: client.models.generate_content(
        model=model, contents="1", config={"response_mime_type": "application/json"}
    ),
    "use a bad key": lambda: stranger.models.generate_content(model=model, contents="1"),
}
told = {}
for attempt, call in attempts.items():
    try:
        call()
        told[attempt] = [200, "OK", "it worked"]
    except errors.ClientError as error:
        told[attempt] = [error.code, error.status, error.message]
print(json.dumps(told))
