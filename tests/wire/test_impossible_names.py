"""Texts that PostgreSQL refuses even to look for, wherever a caller can put one, are found nowhere."""

import re

import pytest

from tuningfork.dialect.gemini.table import UseCases, bindings

WITH_IDS = [each for each in bindings(UseCases(**dict.fromkeys(UseCases.__dataclass_fields__))) if "{" in each.path]
CONTENTS = {"contents": [{"parts": [{"text": "x"}]}]}
BODIES = {
    "Content": CONTENTS,
    "Text": {"prompt": {"text": "x"}},
    "Permission": {"granteeType": "USER", "emailAddress": "bob@example.com", "role": "READER"},
    "Ownership": {"emailAddress": "bob@example.com"},
    "Tokens": CONTENTS,
    "UpdateTunedModel": {"description": "d"},
}


@pytest.mark.parametrize("binding", WITH_IDS, ids=lambda binding: f"{binding.verb} {binding.path}")
def test_an_id_with_a_zero_byte_is_not_found(caller, binding):
    body = next((body for name, body in BODIES.items() if name in binding.method.full_name.rpartition(".")[2]), {})
    mask = "?updateMask=role" if "UpdatePermission" in binding.method.full_name else ""

    answer = caller.call(
        binding.verb,
        f"/v1beta{re.sub(r'{[^}]+}', 'a%00b', binding.path)}{mask}",
        None if binding.verb == "GET" else body,
    )

    assert answer.json()["error"]["status"] == "NOT_FOUND", answer.text


@pytest.mark.parametrize("last", ["permissions/a%00b", "operations/a%00b"])
def test_nor_is_one_below_a_model(caller, last):
    answer = caller.get(f"/v1beta/{caller.create()}/{last}")
    assert answer.json()["error"]["status"] == "NOT_FOUND", answer.text


@pytest.mark.parametrize("query", ["filter=a%00b", "pageToken=a%00b"])
def test_nor_can_a_list_be_searched_for_it(caller, query):
    answer = caller.get(f"/v1beta/tunedModels?{query}")
    assert answer.json()["error"]["status"] == "INVALID_ARGUMENT", answer.text
