"""Sharing over HTTP, from the owner's first look at the list to the new owner's (gemini-api sections 9 and 10)."""

import re

import pytest

from tuningfork.service.sharing.groups import Groups
from workshop import BOB

NAME = re.compile(r"tunedModels/x/permissions/[a-z0-9]+")
ENUMS = "%24alt=json%3Benum-encoding%3Dint"
PERMISSIONS = "/v1beta/tunedModels/x/permissions"


def create(caller, model_id, **changes):
    examples = {"examples": {"examples": [{"textInput": "1", "output": "2"}]}}
    body = {"baseModel": "models/gemini-1.0-pro-001", "tuningTask": {"trainingData": examples}, **changes}
    assert caller.post(f"/v1beta/tunedModels?tunedModelId={model_id}", body).status_code == 200


@pytest.fixture
def x(caller):
    """The caller, with a tuned model `x` of Ada's."""
    create(caller, "x")
    return caller


def made(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer):
    """Status, message and the fields of the violations."""
    error = answer.json()["error"]
    assert answer.status_code == error["code"]
    fields = [each.get("field") for detail in error.get("details", []) for each in detail["fieldViolations"]]
    return error["code"], error["message"], fields


def test_the_requests_of_googles_sdk_are_answered_as_it_needs_them(x):
    """As google-generativeai 0.8.6 was recorded sending them, enums as numbers both ways."""
    everyone = made(x.post(f"{PERMISSIONS}?{ENUMS}", {"granteeType": 3, "role": 3}))
    assert NAME.fullmatch(everyone["name"])
    assert everyone == {"name": everyone["name"], "granteeType": 3, "role": 3}
    group = made(x.post(f"{PERMISSIONS}?{ENUMS}", {"granteeType": 2, "emailAddress": "a@googlegroups.com", "role": 2}))
    assert group == {"name": group["name"], "granteeType": 2, "emailAddress": "a@googlegroups.com", "role": 2}

    listed = made(x.get(f"{PERMISSIONS}?{ENUMS}"))["permissions"]
    assert [each["name"] for each in listed] == sorted(each["name"] for each in listed)
    (owner,) = (each for each in listed if each["role"] == 1)
    assert owner == {"name": owner["name"], "granteeType": 1, "emailAddress": "ada@example.com", "role": 1}
    assert all(each in listed for each in (everyone, group))

    path = f"/v1beta/{group['name']}"
    assert made(x.get(f"{path}?{ENUMS}")) == group
    patched = made(x.call("PATCH", f"{path}?updateMask=role&{ENUMS}", {**group, "role": 3}))
    assert patched == {**group, "role": 3} == made(x.get(f"{path}?{ENUMS}"))
    assert made(x.call("DELETE", f"{path}?{ENUMS}")) == {}
    assert refused(x.get(path)) == (404, f"Permission {group['name']} does not exist.", [])

    assert made(x.post(f"/v1beta/tunedModels/x:transferOwnership?{ENUMS}", {"emailAddress": "b@x.com"})) == {}
    roles = {each.get("emailAddress"): each["role"] for each in made(x.get(PERMISSIONS))["permissions"]}
    assert roles == {None: "READER", "ada@example.com": "WRITER", "b@x.com": "OWNER"}


@pytest.mark.parametrize("version", ["v1beta", "v1", "v1alpha"])
def test_every_version_shares_alike(x, version):
    one = made(x.post(f"/{version}/tunedModels/x/permissions", {"granteeType": "EVERYONE", "role": "READER"}))
    assert made(x.get(f"/{version}/{one['name']}")) == one


def test_an_answer_is_printed_as_all_answers_are(x):
    answer = x.post(PERMISSIONS, b"{'grantee_type': 'USER', email_address: 'Bob@Example.com', role: 'READER',}")
    name = made(answer)["name"]
    assert answer.text == (
        "{\n"
        f'  "name": "{name}",\n'
        '  "granteeType": "USER",\n'
        '  "emailAddress": "bob@example.com",\n'
        '  "role": "READER"\n'
        "}\n"
    )


@pytest.mark.parametrize(
    ("body", "message", "fields"),
    [
        (
            {},
            (
                "* CreatePermissionRequest.permission.grantee_type: grantee_type is required: USER, GROUP or EVERYONE\n"
                "* CreatePermissionRequest.permission.role: role is required: READER or WRITER\n"
            ),
            ["permission.grantee_type", "permission.role"],
        ),
        (
            {"granteeType": "USER", "emailAddress": "bob@example.com", "role": "OWNER"},
            (
                "* CreatePermissionRequest.permission.role: role must be READER or WRITER; a model has one owner, and "
                "tunedModels.transferOwnership makes another\n"
            ),
            ["permission.role"],
        ),
        (
            {"granteeType": "GROUP", "emailAddress": "nobody", "role": "READER"},
            (
                "* CreatePermissionRequest.permission.email_address: email_address must be an address such as "
                "ada@example.com, at most 254 characters; 'nobody' was given\n"
            ),
            ["permission.email_address"],
        ),
        (
            {"granteeType": "EVERYONE", "emailAddress": "bob@example.com", "role": "WRITER"},
            (
                "* CreatePermissionRequest.permission.email_address: email_address must not be set for EVERYONE; "
                "'bob@example.com' was given\n"
                "* CreatePermissionRequest.permission.role: role must be READER for EVERYONE; WRITER was given\n"
            ),
            ["permission.email_address", "permission.role"],
        ),
    ],
)
def test_a_wrong_grant_is_refused_with_every_field_that_is_wrong(x, body, message, fields):
    assert refused(x.post(PERMISSIONS, body)) == (400, message, fields)


def test_a_second_grant_to_the_same_person_is_a_conflict(x):
    bob = {"granteeType": "USER", "emailAddress": "bob@example.com", "role": "READER"}
    first = made(x.post(PERMISSIONS, bob))

    answer = x.post(PERMISSIONS, {**bob, "emailAddress": "BOB@example.com"})

    assert answer.json()["error"]["status"] == "ALREADY_EXISTS"
    assert refused(answer) == (
        409,
        (
            f"A permission for bob@example.com on tunedModels/x already exists: {first['name']} (USER, READER). "
            "Change its role, or delete it first."
        ),
        [],
    )


def test_a_wrong_patch_is_refused_by_its_paths(x):
    (owner,) = made(x.get(PERMISSIONS))["permissions"]
    path = f"/v1beta/{owner['name']}"
    assert refused(x.call("PATCH", path, {"role": "READER"}))[2] == ["update_mask"]
    assert refused(x.call("PATCH", f"{path}?updateMask=role", {}))[1:] == (
        "* UpdatePermissionRequest.permission.role: role is required: READER or WRITER\n",
        ["permission.role"],
    )
    owned = (400, f"Permission {owner['name']} is the owner's; it can be neither changed nor deleted. ")
    for answer in (x.call("PATCH", f"{path}?updateMask=role", {"role": 3}), x.call("DELETE", path)):
        code, message, fields = refused(answer)
        assert (code, message[: len(owned[1])], fields) == (*owned, [])


def test_a_wrong_heir_is_refused_without_a_prefix(x):
    assert refused(x.post("/v1beta/tunedModels/x:transferOwnership", {})) == (
        400,
        "* TransferOwnershipRequest.email_address: email_address is required\n",
        ["email_address"],
    )


@pytest.mark.parametrize("query", ["pageSize=-1", "pageToken=made-up"])
def test_a_wrong_page_is_refused_by_its_name(x, query):
    field = {"pageSize": "page_size", "pageToken": "page_token"}[query.partition("=")[0]]
    code, message, fields = refused(x.get(f"{PERMISSIONS}?{query}"))
    assert (code, fields) == (400, [field])
    assert message.startswith(f"* ListPermissionsRequest.{field}: {field} ")


def test_the_list_is_read_page_by_page(x):
    for number in range(12):
        made(x.post(PERMISSIONS, {"granteeType": "USER", "emailAddress": f"p{number}@x.com", "role": "READER"}))
    first = made(x.get(PERMISSIONS))
    second = made(x.get(f"{PERMISSIONS}?page_size=10&page_token={first['nextPageToken']}"))
    assert (len(first["permissions"]), len(second["permissions"])) == (10, 3)
    assert "nextPageToken" not in second


def test_lists_of_models_follow_what_is_shared(x, database, clock):
    """By address, by group, by project; what is for everyone only on request."""
    bodies = {
        "reader": {"granteeType": "USER", "emailAddress": BOB.email, "role": "READER"},
        "writer": {"granteeType": "GROUP", "emailAddress": "team@x.com", "role": "WRITER"},
        "public": {"granteeType": "EVERYONE", "role": "READER"},
    }
    for model_id, body in bodies.items():
        create(x, model_id)
        made(x.post(f"/v1beta/tunedModels/{model_id}/permissions", body))
    create(x, "project", readerProjectNumbers=["456"])
    Groups(database, clock).add("team@x.com", [BOB.email])

    def names(filter_):
        found = made(x.get(f"/v1beta/tunedModels?filter={filter_}", key=x.bobs_key)).get("tunedModels", [])
        return [each["name"].removeprefix("tunedModels/") for each in found]

    assert names("") == names("readers:me") == names("readers%3Ame") == ["reader", "writer", "project"]
    assert names("writers:me") == ["writer"]
    assert names("owner:me") == []
    assert names("readers:everyone") == ["public"]
    assert names("readers:everyone+writers:me") == []
