"""Ask for JSON that follows a schema, and for one of several words."""

import enum
import json
import os

import google.generativeai as genai

genai.configure(
    api_key=os.environ["GOOGLE_API_KEY"],
    transport=os.environ["TRANSPORT"],
    client_options={"api_endpoint": os.environ["API_ENDPOINT"]},
)

model = genai.GenerativeModel(os.environ["MODEL"])


class Parity(enum.Enum):
    EVEN = "even"
    ODD = "odd"


schema = {
    "type": "OBJECT",
    "properties": {
        "parity": {"type": "STRING", "enum": ["even", "odd"]},
        "about": {"type": "ARRAY", "items": {"type": "BOOLEAN"}, "min_items": 1, "max_items": 2},
    },
    "required": ["parity", "about"],
}
shaped = model.generate_content(
    "41", generation_config=genai.GenerationConfig(response_mime_type="application/json", response_schema=schema)
)
chosen = model.generate_content(
    "41", generation_config=genai.GenerationConfig(response_mime_type="text/x.enum", response_schema=Parity)
)
print(json.dumps({"shaped": json.loads(shaped.text), "chosen": chosen.text}))
