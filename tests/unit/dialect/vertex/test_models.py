"""Registered models over HTTP: versions, checkpoints, what of them changes, and who may know of them."""

import pytest

from caller import TUTORIAL_BODY
from tuningfork.domain.tuned_model import ModelState
from tuningfork.store import registry, schema, tuned_models
from vertex_serving import V1, keep_early, key_in_adas_project, serving_caller, two_checkpoints
from workshop import ADA, BOB


@pytest.fixture
def caller(workshop):
    return serving_caller(workshop)


def message(answer):
    return answer.json()["error"]["message"]


def test_a_model_has_its_checkpoints_their_endpoints_and_the_labels_that_programs_look_for(caller):
    made = two_checkpoints(caller)

    answer = caller.get(made.path())

    assert answer.status_code == 200
    found = answer.json()
    assert found["name"] == made.name
    assert found["versionId"] == "1"
    assert found["versionAliases"] == ["default"]
    assert found["displayName"] == "number generator"
    assert found["defaultCheckpointId"] == "2"
    assert [(each["checkpointId"], each["step"]) for each in found["checkpoints"]] == [("1", "2"), ("2", "19")]
    assert [each["checkpointId"] for each in found["deployedModels"]] == ["1", "2"]
    assert len({each["endpoint"] for each in found["deployedModels"]}) == 2
    assert found["labels"] == {
        "google-vertex-llm-tuning-base-model-id": "gemini-1.0-pro-001",
        "google-vertex-llm-tuning-job-id": str(made.model.number),
        "tune-type": "sft",
    }
    assert found["modelSourceInfo"] == {"sourceType": "GENIE"}


@pytest.mark.parametrize("suffix", ["", "@1", "%401", "@default"])
def test_a_version_is_found_by_its_number_its_alias_or_as_the_default(caller, suffix):
    made = two_checkpoints(caller)

    assert caller.get(made.path("v1beta1") + suffix).json()["name"] == made.name


@pytest.mark.parametrize("suffix", ["@2", "@latest", "0", "x", "@"])
def test_another_version_or_model_does_not_exist(caller, suffix):
    made = two_checkpoints(caller)

    assert caller.get(made.path() + suffix).status_code == 404


def test_a_model_is_registered_from_its_first_checkpoint_on(caller):
    caller.post("/v1beta/tunedModels?tunedModelId=numbers", TUTORIAL_BODY)
    number = caller.workshop.tuning.get(ADA, "numbers").model.number

    assert caller.get(f"{V1}/models/{number}").status_code == 404
    keep_early(caller.workshop, "numbers")

    found = caller.get(f"{V1}/models/{number}").json()
    assert [each["checkpointId"] for each in found["checkpoints"]] == ["1"]
    assert "defaultCheckpointId" not in found


def test_a_list_has_the_models_of_its_project_and_location_the_newest_first(caller):
    first, second = two_checkpoints(caller, "first"), two_checkpoints(caller, "second")

    listed = caller.get(f"{V1}/models").json()["models"]

    assert [each["name"] for each in listed] == [second.name, first.name]
    elsewhere = f"/v1/projects/{ADA.project}/locations/us-central1/models"
    assert caller.get(elsewhere).json() == {}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("filter=labels.tune-type:*", True),
        ("filter=labels.tune-type:sft", True),
        ("filter=labels.tune-type=preference", False),
        ("filter=labels.x:y&filter=labels.tune-type:*", False),
        ("filter=labels.x:y%26filter%3Dlabels.tune-type:*", False),
        ('filter=labels.tune-type:*%26filter%3DdisplayName="number generator"', True),
        ('filter=display_name="number generator" AND labels.tune-type:*', True),
        ('filter=display_name!="number generator"', False),
        ('filter=create_time>"2020-01-01T00:00:00Z"', True),
        ('filter=createTime<"2020-01-01T00:00:00Z"', False),
    ],
)
def test_all_filters_of_a_list_must_hold(caller, query, found):
    two_checkpoints(caller)

    assert ("models" in caller.get(f"{V1}/models?{query}").json()) is found


def test_a_project_binds_a_key_below_projects_and_not_below_the_gemini_api(caller):
    """There roles belong to people, as docs/identity.md says."""
    made = two_checkpoints(caller)
    elsewhere = str(caller.workshop.access.create_key("hers", ADA.email, "another-project").key)

    assert caller.get(made.path(), key=elsewhere).status_code == 403
    assert caller.get("/v1beta/tunedModels/numbers", key=elsewhere).status_code == 200
    assert caller.get("/tuningfork/v1/tunedModels/numbers/stage", key=elsewhere).status_code == 200
    assert len(caller.get("/v1beta/tunedModels", key=elsewhere).json()["tunedModels"]) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("state=x", "filter may have conditions on name,"),
        ("labels.a:b OR labels.c:d", "joined by AND"),
        ("labels.a", "filter must be conditions"),
        ("labels.a:b AND ", "must follow AND"),
        ("create_time>yesterday", "compared with a time"),
    ],
)
def test_a_filter_that_cannot_be_read_is_refused_with_what_can(caller, given, said):
    two_checkpoints(caller)

    answer = caller.get(f"{V1}/models?filter={given}")

    assert answer.status_code == 400
    assert said in message(answer)


def test_pages_of_a_list_have_all_models_once(caller):
    made = [two_checkpoints(caller, f"m{number}").name for number in range(3)]
    query, seen = "pageSize=1", []

    while True:
        page = caller.get(f"{V1}/models?{query}").json()
        seen += [each["name"] for each in page["models"]]
        if not page.get("nextPageToken"):
            break
        query = f"pageSize=1&pageToken={page['nextPageToken']}"

    assert seen == made[::-1]


def test_a_page_token_of_another_filter_is_refused(caller):
    for number in range(2):
        two_checkpoints(caller, f"m{number}")
    token = caller.get(f"{V1}/models?pageSize=1").json()["nextPageToken"]

    answer = caller.get(f"{V1}/models?filter=labels.tune-type:*&pageToken={token}")

    assert answer.status_code == 400
    assert "page_token" in message(answer)


def test_checkpoints_and_versions_are_listed(caller):
    made = two_checkpoints(caller)

    checkpoints = caller.get(f"{made.path()}:listCheckpoints").json()["checkpoints"]
    versions = caller.get(f"{made.path()}:listVersions").json()["models"]

    assert checkpoints == [{"checkpointId": "1", "step": "2"}, {"checkpointId": "2", "epoch": "5", "step": "19"}]
    assert [each["versionId"] for each in versions] == ["1"]


def test_a_patch_without_a_mask_changes_what_is_in_it(caller):
    made = two_checkpoints(caller)

    answer = caller.call("PATCH", made.path(), {"displayName": "nn", "defaultCheckpointId": "1"})

    assert answer.status_code == 200, answer.text
    assert answer.json()["displayName"] == "nn"
    assert answer.json()["defaultCheckpointId"] == "1"
    assert caller.get(made.path()).json()["defaultCheckpointId"] == "1"
    assert caller.get("/v1beta/tunedModels/numbers").json()["displayName"] == "nn"


def test_a_patch_with_a_mask_changes_what_the_mask_names(caller):
    made = two_checkpoints(caller)

    answer = caller.call("PATCH", f"{made.path()}?updateMask=description", {"displayName": "x", "description": "d"})

    assert (answer.json()["displayName"], answer.json()["description"]) == ("number generator", "d")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"defaultCheckpointId": "9"}, "default_checkpoint_id must be one of 1, 2"),
        ({"defaultCheckpointId": "x"}, "default_checkpoint_id must be the id"),
        ({"labels": {"a": "b"}}, "labels cannot be changed"),
        ({"displayName": "x" * 129}, "at most 128"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_a_patch_that_cannot_be_is_refused_and_changes_nothing(caller, body, said):
    made = two_checkpoints(caller)

    answer = caller.call("PATCH", made.path(), {"displayName": "other", **body})

    assert answer.status_code == 400
    assert said in message(answer)
    assert caller.get(made.path()).json()["displayName"] == "number generator"


def test_display_names_may_be_as_long_as_on_the_hosted_service(caller):
    made = two_checkpoints(caller)

    assert caller.call("PATCH", made.path(), {"displayName": "x" * 128}).status_code == 200


def test_a_checkpoint_becomes_the_default_once_its_model_can_be_called(caller):
    caller.post("/v1beta/tunedModels?tunedModelId=numbers", TUTORIAL_BODY)
    keep_early(caller.workshop, "numbers")
    number = caller.workshop.tuning.get(ADA, "numbers").model.number

    answer = caller.call("PATCH", f"{V1}/models/{number}", {"defaultCheckpointId": "1"})

    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "FAILED_PRECONDITION")


@pytest.fixture
def versions(caller):
    """A model with a second version, which is the default one; its number."""
    first, second = two_checkpoints(caller, "first").model, two_checkpoints(caller, "second").model
    with caller.workshop.database.write() as connection:
        columns = schema.tuned_models.c
        registry.set_aliases(connection, first.id, ())
        change = schema.tuned_models.update().where(columns.id == second.id)
        connection.execute(change.values(registry_model=first.number, version=2))
    return first.number


def test_versions_have_one_number_and_one_of_them_is_the_default(caller, versions):
    listed = caller.get(f"{V1}/models/{versions}:listVersions").json()["models"]

    assert [(each["versionId"], each.get("versionAliases")) for each in listed] == [("1", None), ("2", ["default"])]
    assert caller.get(f"{V1}/models/{versions}").json()["versionId"] == "2"
    assert [each["versionId"] for each in caller.get(f"{V1}/models").json()["models"]] == ["2"]


def test_while_the_default_version_has_no_checkpoint_the_newest_of_the_others_is_the_default(caller, versions):
    with caller.workshop.database.write() as connection:
        connection.execute(schema.checkpoints.delete().where(schema.checkpoints.c.job_id == job_of(caller, "second")))

    found = caller.get(f"{V1}/models/{versions}").json()

    assert (found["versionId"], found["versionAliases"]) == ("1", ["default"])
    assert [each["versionId"] for each in caller.get(f"{V1}/models").json()["models"]] == ["1"]
    # Its job is not lost with the others.
    caller.call("DELETE", f"{V1}/models/{versions}")
    assert caller.get("/v1beta/tunedModels/first").status_code == 404
    assert caller.get("/v1beta/tunedModels/second").status_code == 200


@pytest.mark.parametrize("state", [ModelState.CREATING, ModelState.FAILED])
def test_a_version_that_cannot_be_called_is_not_the_default_whatever_checkpoints_it_has(caller, versions, state):
    with caller.workshop.database.write() as connection:
        change = schema.tuned_models.update().where(schema.tuned_models.c.id == "second")
        connection.execute(change.values(state=state.value, default_checkpoint=None))

    listed = caller.get(f"{V1}/models/{versions}:listVersions").json()["models"]

    assert [(each["versionId"], each.get("versionAliases")) for each in listed] == [("1", ["default"]), ("2", None)]
    assert [each["versionId"] for each in caller.get(f"{V1}/models").json()["models"]] == ["1"]
    body = {"contents": [{"role": "user", "parts": [{"text": "8"}]}]}
    assert caller.post(f"{V1}/models/{versions}:generateContent", body).status_code == 200
    refused = caller.post(f"{V1}/models/{versions}@2:mergeVersionAliases", {"versionAliases": ["default"]})
    assert refused.status_code == 400
    assert "version 2 cannot be called, so it cannot be the default one" in message(refused)


def test_when_the_default_version_is_deleted_the_newest_that_can_be_called_becomes_it(caller, versions):
    third = two_checkpoints(caller, "third").model
    with caller.workshop.database.write() as connection:
        columns = schema.tuned_models.c
        change = schema.tuned_models.update().where(columns.id == third.id)
        connection.execute(change.values(registry_model=versions, version=3))
        registry.set_aliases(connection, third.id, ())
        connection.execute(schema.tuned_models.update().where(columns.id == "second").values(state="FAILED"))
        registry.set_aliases(connection, "second", ())
        registry.set_aliases(connection, third.id, ("default",))
    caller.call("DELETE", "/v1beta/tunedModels/third")

    with caller.workshop.database.read() as connection:
        kept = tuned_models.find(connection, "first")
    assert kept.version_aliases == ("default",)


def test_a_version_is_deleted_unless_it_is_the_default_one_of_several(caller, versions):
    refused = caller.call("DELETE", f"{V1}/models/{versions}@2:deleteVersion")
    moved = caller.post(f"{V1}/models/{versions}@1:mergeVersionAliases", {"versionAliases": ["default"]})
    deleted = caller.call("DELETE", f"{V1}/models/{versions}@2:deleteVersion")

    assert refused.status_code == 400
    assert "make another version the default first" in message(refused)
    assert moved.json()["versionAliases"] == ["default"]
    assert deleted.json()["done"] is True
    assert caller.get(f"{V1}/models/{versions}@2").status_code == 404


def test_when_the_default_version_is_deleted_the_newest_other_one_becomes_it(caller, versions):
    caller.call("DELETE", "/v1beta/tunedModels/second")

    assert caller.get(f"{V1}/models/{versions}").json()["versionId"] == "1"


def job_of(caller, model_id):
    return caller.workshop.tuning.get(ADA, model_id).job.id


def test_an_alias_moves_from_version_to_version_and_the_default_one_always_belongs_to_one(caller):
    made = two_checkpoints(caller)

    answer = caller.post(f"{made.path()}@1:mergeVersionAliases", {"versionAliases": ["prod"]})
    removed = caller.post(f"{made.path()}@prod:mergeVersionAliases", {"versionAliases": ["-prod"]})
    refused = caller.post(f"{made.path()}@1:mergeVersionAliases", {"versionAliases": ["-default"]})

    assert answer.json()["versionAliases"] == ["default", "prod"]
    assert removed.json()["versionAliases"] == ["default"]
    assert refused.status_code == 400
    assert "default must belong to a version" in message(refused)


def test_a_deleted_model_is_gone_with_its_job_and_endpoints_and_the_operation_is_done(caller):
    made = two_checkpoints(caller)

    answer = caller.call("DELETE", made.path())

    assert answer.status_code == 200
    operation = answer.json()
    assert operation["done"] is True
    assert operation["response"] == {"@type": "type.googleapis.com/google.protobuf.Empty"}
    assert operation["metadata"]["@type"].endswith("DeleteOperationMetadata")
    assert caller.get(made.path()).status_code == 404
    assert caller.get("/v1beta/tunedModels/numbers").status_code == 404
    assert [caller.get(f"/v1/{endpoint}").status_code for endpoint in made.endpoints] == [404, 404]
    assert caller.get(f"/v1/{operation['name']}").json() == operation
    assert caller.post(f"/v1/{operation['name']}:wait").json() == operation
    assert caller.post(f"/v1/{operation['name']}:cancel").json() == {}


@pytest.mark.parametrize("operation", ["1", "199999999999999999", "911111111111111111", "x"])
def test_an_operation_that_has_not_been_does_not_exist(caller, operation):
    assert caller.get(f"{V1}/operations/{operation}").status_code == 404


def test_whoever_has_no_role_is_told_that_there_is_no_model(caller):
    made = two_checkpoints(caller)
    colleague = key_in_adas_project(caller, BOB)

    for verb, path, body in (
        ("GET", made.path(), None),
        ("GET", f"{made.path()}:listVersions", None),
        ("GET", f"{made.path()}:listCheckpoints", None),
        ("PATCH", made.path(), {"displayName": "x"}),
        ("DELETE", made.path(), None),
        ("DELETE", f"{made.path()}@1:deleteVersion", None),
        ("POST", f"{made.path()}@1:mergeVersionAliases", {"versionAliases": ["x"]}),
        ("POST", f"{made.path()}:generateContent", {"contents": [{"parts": [{"text": "8"}]}]}),
    ):
        assert caller.call(verb, path, body, key=colleague).status_code == 404, path
    assert caller.get(f"{V1}/models", key=colleague).json() == {}


def test_a_reader_may_look_and_not_change(caller):
    made = two_checkpoints(caller)
    caller.post(
        "/v1beta/tunedModels/numbers/permissions",
        {"granteeType": "USER", "emailAddress": BOB.email, "role": "READER"},
    )
    colleague = key_in_adas_project(caller, BOB)

    assert caller.get(made.path(), key=colleague).status_code == 200
    for verb, permission in (("PATCH", "update"), ("DELETE", "delete")):
        refused = caller.call(verb, made.path(), {"displayName": "x"}, key=colleague)
        assert refused.status_code == 403
        assert message(refused).startswith(f"Permission 'aiplatform.models.{permission}' denied on resource '//")


def test_a_model_does_not_exist_in_another_location_or_project(caller):
    made = two_checkpoints(caller)
    elsewhere = made.path().replace("locations/global", "locations/europe-west4")

    assert caller.get(elsewhere).status_code == 404
    assert caller.get(made.path().replace("projects/123", "projects/456")).status_code == 403
    assert caller.get(made.path().replace("projects/123", "projects/456"), key=caller.bobs_key).status_code == 404


def test_base_models_are_listed_and_found_as_those_of_a_publisher(caller):
    listed = caller.get("/v1beta1/publishers/google/models").json()["publisherModels"]
    one = caller.get("/v1beta1/publishers/google/models/gemini-1.0-pro-001").json()

    assert one in listed
    assert one["name"] == "publishers/google/models/gemini-1.0-pro-001"
    assert caller.get("/v1/publishers/google/models/none").status_code == 404
