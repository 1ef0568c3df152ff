"""The document of the API knows what each of these methods takes and gives."""

import re

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from caller import caller_of
from tuningfork.api.google.form import GoogleForm
from tuningfork.dialect.form import Dialect
from tuningfork.dialect.gemini.description import described
from tuningfork.dialect.vertex.serving_description import SERVING_EXCHANGES
from tuningfork.dialect.vertex.serving_methods import ServingMethod
from tuningfork.wire.vertex.errors import VERTEX_ERRORS
from vertex_serving import serving_of


@pytest.fixture
def caller(workshop):
    dialect = Dialect(
        prefixes={"/v1": "v1", "/v1beta1": "v1beta1"},
        bindings=serving_of(workshop).bindings(),
        form=GoogleForm(VERTEX_ERRORS),
        describe=lambda: described({method.name.lower(): each for method, each in SERVING_EXCHANGES.items()}),
    )
    return caller_of(workshop, further=(dialect,))


def test_every_method_is_described_and_bound(workshop):
    assert set(SERVING_EXCHANGES) == set(ServingMethod)
    assert {binding.method for binding in serving_of(workshop).bindings()} == set(ServingMethod)


def test_the_document_with_them_is_valid_and_each_path_is_reached(caller):
    document = caller.get("/openapi.json", key="").json()
    OpenAPIV31SpecValidator(document).validate()

    for path, verbs in document["paths"].items():
        if path.startswith("/v1beta1/"):
            for verb in verbs:
                answer = caller.call(verb.upper(), re.sub(r"\{\w+\}", "x", path), {} if verb != "get" else None)
                assert answer.status_code not in (405, 500), (verb, path, answer.text)
                assert "Not found" not in answer.text, (verb, path)
