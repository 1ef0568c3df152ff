"""What the methods of a dialect take and give, as JSON Schemas, for the document of the server's API."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Schema = Mapping[str, Any]

JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodDescription:
    """What one method takes and gives.

    `query` has the schema of each query parameter. `body` None: the method takes no body, or if it has a `body_type` a
    file of this content type. `answer` None: the answer has no schema, such as a file; `answer_type` is its content
    type.
    """

    query: Mapping[str, Schema] = field(default_factory=dict)
    body: Schema | None = None
    body_type: str = JSON
    answer: Schema | None = None
    answer_type: str = JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A dialect's requests and answers for the OpenAPI document; each method by the name of its binding.

    `schemas` are those that others refer to, as `#/components/schemas/NAME`. `error` is the body of every error.
    `keys` and `tokens` are the ways to send an API key or an access token, as security schemes of OpenAPI. `about` is
    what holds for every method, in sentences.
    """

    methods: Mapping[str, MethodDescription]
    schemas: Mapping[str, Schema]
    error: Schema
    keys: dict[str, Schema]
    tokens: dict[str, Schema]
    about: str = ""


NOTHING_SAID = Description(methods={}, schemas={}, error={}, keys={}, tokens={})
"""The description of a dialect that describes nothing."""
