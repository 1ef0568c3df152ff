"""What a caller may say of any answer."""

import json

import pytest

from caller import turn

MODEL = "/v1beta/models/echo-001"


def test_answers_are_pretty_unless_the_caller_wants_one_line(caller):
    pretty = caller.get(MODEL).text

    assert pretty.startswith('{\n  "name": "models/echo-001",\n')
    assert pretty.endswith("}\n")
    assert caller.get(f"{MODEL}?prettyPrint=true").text == pretty
    for query in ("prettyPrint=false", "%24prettyPrint=false", "prettyPrint=0"):
        line = caller.get(f"{MODEL}?{query}").text
        assert line.count("\n") == 1
        assert json.loads(line) == json.loads(pretty)


@pytest.mark.parametrize("query", ["alt=json;enum-encoding=int", "%24alt=json%3Benum-encoding%3Dint"])
def test_enums_can_be_numbers(caller, query):
    name = caller.create_active()

    assert caller.get(f"/v1beta/{name}").json()["state"] == "ACTIVE"
    assert caller.get(f"/v1beta/{name}?{query}").json()["state"] == 2
    assert caller.get(f"/v1beta/{caller.operation_of(name)}?{query}").json()["response"]["state"] == 2


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?fields=name,temperature", {}),
        ("?%24fields=name,temperature", {}),
        ("", {"X-Goog-FieldMask": "name,temperature"}),
    ],
)
def test_a_field_mask_leaves_what_is_wanted(caller, query, headers):
    answer = caller.get(f"{MODEL}{query}", headers=headers)

    assert answer.json() == {"name": "models/echo-001", "temperature": 0.7}


def test_a_field_mask_works_on_every_chunk_of_a_stream(caller):
    answer = caller.post(
        f"{MODEL}:streamGenerateContent?fields=candidates/content/parts/text", {"contents": [turn("a b")]}
    )

    assert answer.json() == [
        {"candidates": [{"content": {"parts": [{"text": "a "}]}}]},
        {"candidates": [{"content": {"parts": [{"text": "b"}]}}]},
    ]


def test_parameters_of_the_platform_are_passed_over(caller):
    query = "callback=f&quotaUser=me&uploadType=x&upload_protocol=y&userIp=1.2.3.4&%24.xgafv=2&alt=json"

    assert caller.get(f"{MODEL}?{query}").status_code == 200


def test_method_parameters_come_in_both_spellings(caller):
    for query in ("pageSize=1", "page_size=1"):
        assert len(caller.get(f"/v1beta/models?{query}").json()["models"]) == 1


def test_success_is_always_200(caller):
    name = caller.create()

    assert caller.call("DELETE", f"/v1beta/{name}").status_code == 200
