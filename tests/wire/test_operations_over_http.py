"""google.longrunning.Operations below a tuned model: get, list, cancel, delete; metadata on every answer."""

import pytest

from caller import TUTORIAL_BODY

ANY = "type.googleapis.com/google.ai.generativelanguage.v1beta"


@pytest.fixture
def operation(caller):
    """The name of an operation that waits, of `tunedModels/abc`."""
    return caller.post("/v1beta/tunedModels?tunedModelId=abc", TUTORIAL_BODY).json()["name"]


def finish(caller, end):
    if end == "failed":
        caller.workshop.executor.fail_before(3)
    if end == "cancelled":
        assignment = caller.workshop.advance(steps=4)
        caller.post("/v1/tunedModels/abc:cancel")
        caller.workshop.running.give_back(assignment.job_id, died=False)
    caller.workshop.advance()


def get(caller, operation):
    return caller.get(f"/v1/{operation}").json()


def test_a_new_operation_has_steps_to_come_and_none_behind_it(caller, operation):
    assert get(caller, operation) == {
        "name": operation,
        "metadata": {
            "@type": f"{ANY}.CreateTunedModelMetadata",
            "totalSteps": 19,
            "tunedModel": "tunedModels/abc",
        },
    }


def test_a_running_operation_has_as_many_snapshots_as_steps(caller, operation):
    caller.workshop.advance(steps=3)
    answer = get(caller, operation)

    assert set(answer) == {"name", "metadata"}
    assert answer["metadata"]["completedSteps"] == 3
    assert answer["metadata"]["completedPercent"] == 15.789474
    assert [each["step"] for each in answer["metadata"]["snapshots"]] == [1, 2, 3]


@pytest.mark.parametrize(
    ("end", "result"),
    [
        ("succeeded", "response"),
        ("failed", {"code": 13, "message": "The loss is not finite."}),
        (
            "cancelled",
            {
                "code": 1,
                "message": "The tuning job was cancelled after 4 of 19 steps; "
                "tunedModels/abc answers with the weights of that step.",
            },
        ),
    ],
)
def test_an_ended_operation_has_exactly_one_result_and_its_metadata(caller, operation, end, result):
    finish(caller, end)
    answer = get(caller, operation)

    assert answer["done"] is True
    assert answer["metadata"]["tunedModel"] == "tunedModels/abc"
    if end == "succeeded":
        model = caller.get("/v1beta/tunedModels/abc").json()
        assert set(answer) == {"name", "metadata", "done", "response"}
        assert answer["response"] == {"@type": f"{ANY}.TunedModel", **model}
    else:
        assert set(answer) == {"name", "metadata", "done", "error"}
        assert answer["error"] == result


@pytest.mark.parametrize("end", ["", "succeeded", "failed", "cancelled"])
def test_the_list_shows_what_get_shows(caller, operation, end):
    if end:
        finish(caller, end)
    answer = caller.get("/v1/tunedModels/abc/operations")

    assert answer.status_code == 200
    assert answer.json() == {"operations": [get(caller, operation)]}


def test_the_list_of_all_models_shows_the_same(caller, operation):
    second = caller.post("/v1beta/tunedModels?tunedModelId=def", TUTORIAL_BODY).json()["name"]
    caller.workshop.advance()

    everything = caller.get("/v1/operations").json()
    assert everything == {"operations": [get(caller, operation), get(caller, second)]}
    assert caller.get("/v1/operations?filter=done=false").json() == {"operations": [get(caller, second)]}


@pytest.mark.parametrize(
    ("filter", "before", "after"),
    [
        ("", True, True),
        ("done=true", False, True),
        ("done=false", True, False),
        (" done = TRUE ", False, True),
        ("done%3Dfalse", True, False),
    ],
)
def test_the_list_can_be_of_those_that_are_done_or_are_not(caller, operation, filter, before, after):  # noqa: A002
    path = f"/v1/tunedModels/abc/operations?filter={filter}"
    waiting = caller.get(path).json()
    caller.workshop.advance()
    done = caller.get(path).json()

    assert (waiting != {}, done != {}) == (before, after)


@pytest.mark.parametrize("size", ["pageSize=1", "page_size=0", "pageSize=100000", "pageToken="])
def test_the_list_has_one_page(caller, operation, size):
    answer = caller.get(f"/v1/tunedModels/abc/operations?{size}").json()
    assert [each["name"] for each in answer["operations"]] == [operation]
    assert "nextPageToken" not in answer


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "filter=state=x",
            '* ListOperationsRequest.filter: filter must be done=true or done=false; "state=x" was given\n',
        ),
        ("pageSize=-1", "* ListOperationsRequest.page_size: page_size must not be negative; -1 was given\n"),
        ("pageToken=x", "* ListOperationsRequest.page_token: page_token is not one that this method returned\n"),
    ],
)
def test_a_wrong_argument_of_the_list_is_told(caller, operation, query, message):
    answer = caller.get(f"/v1/tunedModels/abc/operations?{query}")
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, message)


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled"])
def test_an_ended_operation_that_is_deleted_stays_readable_with_its_model(caller, operation, end):
    finish(caller, end)
    before = get(caller, operation)
    answers = [caller.call("DELETE", f"/v1/{operation}") for _ in range(2)]

    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, {})] * 2
    assert get(caller, operation) == before


def test_one_that_goes_on_is_not_deleted_but_told_how_to_stop(caller, operation):
    answer = caller.call("DELETE", f"/v1/{operation}")

    assert answer.status_code == 400
    assert answer.json() == {
        "error": {
            "code": 400,
            "message": f"Operation {operation} has not ended, and deleting it would not stop it. "
            "Cancel it, or delete tunedModels/abc.",
            "status": "FAILED_PRECONDITION",
        }
    }


@pytest.mark.parametrize("body", [None, b"", b"{}"])
@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
def test_a_cancel_answers_nothing_before_and_after_the_end(caller, operation, version, body):
    answers = [caller.post(f"/{version}/{operation}:cancel", body) for _ in range(2)]

    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, {})] * 2
    assert get(caller, operation)["error"]["code"] == 1


def test_a_cancel_of_what_has_succeeded_changes_nothing(caller, operation):
    finish(caller, "succeeded")
    before = get(caller, operation)
    assert caller.post(f"/v1/{operation}:cancel").json() == {}
    assert get(caller, operation) == before


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/tunedModels/abc/operations/nothere"),
        ("POST", "/v1/tunedModels/abc/operations/nothere:cancel"),
        ("DELETE", "/v1/tunedModels/abc/operations/nothere"),
    ],
)
def test_a_missing_operation_is_told(caller, operation, method, path):
    answer = caller.call(method, path)
    assert (answer.status_code, answer.json()["error"]) == (
        404,
        {
            "code": 404,
            "message": "Operation tunedModels/abc/operations/nothere does not exist.",
            "status": "NOT_FOUND",
        },
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/operations/abc"),
        ("DELETE", "/v1/operations/abc"),
        ("POST", "/v1/operations/abc:cancel"),
        ("GET", "/v1/batches/abc/operations/def"),
    ],
)
def test_operations_of_nothing_are_not_there(caller, method, path):
    answer = caller.call(method, path)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (404, 404, "NOT_FOUND")


def test_strangers_are_refused(caller, operation):
    calls = [
        ("GET", "/v1/tunedModels/abc/operations"),
        ("GET", f"/v1/{operation}"),
        ("DELETE", f"/v1/{operation}"),
        ("POST", f"/v1/{operation}:cancel"),
    ]
    answers = [caller.call(method, path, key=caller.bobs_key) for method, path in calls]
    assert {(answer.status_code, answer.json()["error"]["message"]) for answer in answers} == {
        (403, "You do not have permission to access tuned model tunedModels/abc")
    }
    assert caller.get("/v1/operations", key=caller.bobs_key).json() == {}


@pytest.mark.parametrize("moment", ["waiting", "running", "done"])
def test_of_a_deleted_model_nothing_answers_any_more(caller, operation, moment):
    if moment != "waiting":
        caller.workshop.advance(steps=3 if moment == "running" else None)
    assert caller.call("DELETE", "/v1beta/tunedModels/abc").json() == {}

    paths = [
        "/v1beta/tunedModels/abc",
        "/v1beta/tunedModels/abc/permissions",
        "/v1beta/tunedModels/abc/operations",
        f"/v1beta/{operation}",
        "/tuningfork/v1/tunedModels/abc/adapter",
    ]
    answers = {path: caller.get(path) for path in paths}
    assert {(answer.status_code, answer.json()["error"]["message"]) for answer in answers.values()} == {
        (404, "Tuned model tunedModels/abc does not exist.")
    }


def test_a_list_can_leave_out_the_steps_of_its_runs(caller):
    """What `tuningfork jobs` asks for."""
    caller.create()
    caller.workshop.advance(steps=3)
    fields = "operations(name,done,error,metadata(tunedModel,totalSteps,completedSteps)),nextPageToken"

    (operation,) = caller.get(f"/v1beta/operations?pageSize=1000&fields={fields}").json()["operations"]

    assert operation["metadata"].items() >= {"totalSteps": 19, "completedSteps": 3}.items()
    assert "snapshots" not in operation["metadata"]
