"""Every call over gRPC has an id, and a line in the access log, as requests over HTTP have."""

import re

import grpc
import pytest
from google.ai import generativelanguage_v1beta as api

from live_server import wait_until

LIST_MODELS = "/google.ai.generativelanguage.v1beta.ModelService/ListModels"
NAME = "google.ai.generativelanguage.v1beta.ModelService.ListModels"


@pytest.fixture
def records(caplog):
    """The records of the access log, once there are so many: a call is logged after its caller has the answer."""
    caplog.set_level("INFO", logger="tuningfork.access")

    def records(count):
        made = lambda: [record for record in caplog.records if record.name == "tuningfork.access"]  # noqa: E731
        wait_until(lambda: len(made()) >= count, what="the calls are logged")
        return made()

    return records


def call(caller, **options):
    request = api.ListModelsRequest.serialize(api.ListModelsRequest())
    answer, ended = caller.channel.unary_unary(LIST_MODELS).with_call(request, **options)
    return answer, dict(ended.trailing_metadata())["x-request-id"]


def test_a_call_has_the_id_that_its_caller_gave_or_a_new_one(ada, records):
    given = call(ada, metadata=(("x-request-id", "abc-1"),))[1]
    made = call(ada, metadata=(("x-request-id", "no good id"),))[1]

    assert given == "abc-1"
    assert re.fullmatch("[0-9a-f]{16}", made)
    assert len(records(2)) == 2


def test_a_call_is_logged_with_its_method_its_size_and_the_id_of_its_key(ada, service, records):
    answer, _ = call(ada)

    [record] = records(1)
    ids = [key.id for key in service.workshop.access.list_keys()]
    assert (record.verb, record.path, record.status, record.bytes) == ("gRPC", NAME, "OK", len(answer))
    assert record.key in ids
    assert record.remote == "127.0.0.1"


def test_a_refused_key_is_told_without_it_and_its_call_has_an_id(service, caplog, records):
    with service.calling(("x-goog-api-key", "canary")) as stranger, pytest.raises(grpc.RpcError) as refused:
        call(stranger)

    [record] = records(1)
    [warning] = [each for each in caplog.records if getattr(each, "action", "") == "key_refused"]
    assert (record.status, record.key) == ("INVALID_ARGUMENT", "")
    assert re.fullmatch("[0-9a-f]{16}", dict(refused.value.trailing_metadata())["x-request-id"])
    assert NAME in warning.getMessage()
    assert "canary" not in str(warning.__dict__) + str(record.__dict__)
