"""Ask for JSON that follows a schema, for one of several words, and with a system instruction."""

import enum
import json
import os
from typing import Literal

from google import genai
from google.genai import types
from pydantic import BaseModel, Field

client = genai.Client()
model = os.environ["MODEL"]


class Successor(BaseModel):
    number: int = Field(ge=0, le=99)
    about: list[Literal["even", "odd", "prime"]] = Field(min_length=1, max_length=2)
    nearest_square: int | None = Field(default=None, ge=0, le=99)


class Parity(enum.Enum):
    EVEN = "even"
    ODD = "odd"


def settings(**more: object) -> types.GenerateContentConfig:
    return types.GenerateContentConfig(max_output_tokens=400, **more)


shaped = client.models.generate_content(
    model=model, contents="41", config=settings(response_mime_type="application/json", response_schema=Successor)
)
by_json_schema = client.models.generate_content(
    model=model,
    contents="41",
    config=settings(
        response_mime_type="application/json",
        response_json_schema={
            "type": "object",
            "properties": {"next": {"type": "integer", "minimum": 0, "maximum": 99}},
            "required": ["next"],
            "additionalProperties": False,
        },
    ),
)
chosen = client.models.generate_content(
    model=model, contents="41", config=settings(response_mime_type="text/x.enum", response_schema=Parity)
)
instructed = client.models.generate_content(
    model=model, contents="41", config=settings(system_instruction="Answer with the next number.")
)
print(
    json.dumps(
        {
            "shaped": json.loads(shaped.text),
            "parsed": isinstance(shaped.parsed, Successor),
            "by_json_schema": json.loads(by_json_schema.text),
            "chosen": chosen.text,
            "instructed": instructed.text,
        }
    )
)
