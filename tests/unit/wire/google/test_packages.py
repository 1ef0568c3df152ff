"""Shared tables under the name of an API's package."""

import json

import pytest

from tuningfork.domain.errors import InvalidArgument
from tuningfork.wire.google.config_messages import SCHEMA
from tuningfork.wire.google.generation import parse_generate
from tuningfork.wire.google.generation_messages import GENERATE_CONTENT_REQUEST
from tuningfork.wire.google.generation_tables import GenerationTables
from tuningfork.wire.google.packages import Package

VERTEX = "google.cloud.aiplatform.v1"


def test_every_message_that_is_held_gets_the_package_in_front():
    request = Package(VERTEX).message(GENERATE_CONTENT_REQUEST)

    content = request.by_key["contents"].type
    config = request.by_key["generationConfig"].type
    assert request.full_name == f"{VERTEX}.GenerateContentRequest"
    assert content.full_name == f"{VERTEX}.Content"
    assert content.by_key["parts"].type.full_name == f"{VERTEX}.Part"
    assert config.by_key["mediaResolution"].type.full_name == f"{VERTEX}.GenerationConfig.MediaResolution"


def test_a_message_that_holds_its_own_kind_still_does():
    schema = Package(VERTEX).message(SCHEMA)

    assert schema.by_key["items"].type is schema
    assert schema.by_key["properties"].type is schema


def test_one_message_of_one_package_is_one_object():
    package = Package(VERTEX)

    request = package.message(GENERATE_CONTENT_REQUEST)
    assert request.by_key["contents"].type is request.by_key["systemInstruction"].type
    assert package.message(GENERATE_CONTENT_REQUEST) is request


def test_the_sentences_of_errors_print_the_package_of_the_api_that_is_spoken():
    body = json.dumps({"generationConfig": 7}).encode()

    with pytest.raises(InvalidArgument) as caught:
        parse_generate(body, GenerationTables.of(Package(VERTEX)))

    assert f"(type.googleapis.com/{VERTEX}.GenerationConfig)" in caught.value.message
