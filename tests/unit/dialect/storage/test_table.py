"""The table of the methods of buckets, and what the document of the API says of them."""

from itertools import groupby

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from storage_caller import StorageCaller


@pytest.fixture
def caller(workshop, tmp_path):
    return StorageCaller(workshop, tmp_path).caller


def test_every_method_is_described(caller):
    for dialect in caller.services.dialects:
        assert {binding.name for binding in dialect.bindings} == dialect.describe().methods.keys()


def test_the_document_stays_valid_and_names_each_operation_once(caller):
    document = caller.get("/openapi.json", key="").json()
    OpenAPIV31SpecValidator(document).validate()

    operations = [each for verbs in document["paths"].values() for each in verbs.values()]
    ids = sorted(each["operationId"] for each in operations)
    assert [name for name, same in groupby(ids) if len(list(same)) > 1] == []
    assert [each["operationId"] for each in operations if not each["summary"]] == []
    needed = document["paths"]["/upload/storage/v1/b/{bucket}/o"]["put"]["security"]
    assert {"accessToken": ["https://www.googleapis.com/auth/devstorage.read_write"]} in needed


def test_paths_that_are_no_methods_are_told_in_the_form_of_this_api(caller):
    answer = caller.get("/storage/v1/b/training/acl")

    assert answer.status_code == 404
    assert answer.json()["error"]["errors"][0]["reason"] == "notFound"
