"""Permissions inward and outward."""

import json

import pytest

from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.permission import Email, GranteeType, Permission, PermissionId, PermissionRequest, Role
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.wire.gemini.permissions import (
    PermissionsQuery,
    parse_create_permission,
    parse_list_permissions,
    parse_transfer_ownership,
    parse_update_permission,
    render_permission,
    render_permissions,
)
from tuningfork.wire.google.proto_json.encode import encode

MASK = {"updateMask": "role"}


def create(body):
    return parse_create_permission(json.dumps(body).encode())


def update(body, query=None):
    return parse_update_permission(json.dumps(body).encode(), MASK if query is None else query)


def message_of(act):
    with pytest.raises(InvalidArgument) as caught:
        act()
    return caught.value.message


BOB = PermissionRequest(grantee_type=GranteeType.USER, email_address="b@x.com", role=Role.WRITER)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"granteeType": "USER", "emailAddress": "b@x.com", "role": "WRITER"}, BOB),
        ({"grantee_type": 1, "email_address": "b@x.com", "role": 2}, BOB),
        ({"granteeType": "user", "emailAddress": "b@x.com", "role": "2", "name": "ignored"}, BOB),
        ({"granteeType": 3, "role": 3}, PermissionRequest(grantee_type=GranteeType.EVERYONE, role=Role.READER)),
        ({}, PermissionRequest()),
        ({"granteeType": 0, "role": "ROLE_UNSPECIFIED", "emailAddress": None}, PermissionRequest()),
    ],
)
def test_a_grant_is_read_in_every_spelling(body, wanted):
    assert create(body) == wanted


def test_a_grant_of_no_bytes_asks_for_nothing():
    assert parse_create_permission(b"") == PermissionRequest()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"foo": 1}, "Invalid JSON payload received. Unknown name \"foo\" at 'permission': Cannot find field."),
        (
            {"role": "BOSS"},
            (
                "Invalid value at 'permission.role' "
                '(type.googleapis.com/google.ai.generativelanguage.v1beta.Permission.Role), "BOSS"'
            ),
        ),
        (
            {"granteeType": 4},
            (
                "Invalid value at 'permission.grantee_type' "
                "(type.googleapis.com/google.ai.generativelanguage.v1beta.Permission.GranteeType), 4"
            ),
        ),
        ({"emailAddress": 7}, "Invalid value at 'permission.email_address' (TYPE_STRING), 7"),
    ],
)
def test_what_is_no_permission_is_refused_by_its_path(body, message):
    assert message_of(lambda: create(body)) == message
    assert message_of(lambda: update(body)) == message


@pytest.mark.parametrize("mask", ["role", "*", "role,role", "role,*"])
def test_a_patch_asks_for_a_role_and_the_rest_of_the_body_is_passed_over(mask):
    body = {"name": "n", "granteeType": 3, "emailAddress": "b@x.com", "role": 2}
    assert update(body, {"update_mask": mask}) is Role.WRITER
    assert update({"granteeType": 3}, {"update_mask": mask}) is None


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({}, "update_mask is required; role is what can be changed"),
        ({"updateMask": ""}, "update_mask is required; role is what can be changed"),
        (
            {"updateMask": "role,granteeType"},
            'update_mask names "granteeType", which cannot be changed; it may name role, or be * for all of them',
        ),
        (
            {"updateMask": "boss"},
            'update_mask names "boss", which is no field of Permission; it may name role, or be * for all of them',
        ),
    ],
)
def test_a_patch_needs_a_mask_that_names_the_role(query, message):
    assert message_of(lambda: update({"role": 2}, query)) == f"* UpdatePermissionRequest.update_mask: {message}\n"


@pytest.mark.parametrize(
    ("body", "address"),
    [
        (b'{"emailAddress": "b@x.com"}', "b@x.com"),
        (b"{email_address: 'b@x.com', name: 'tunedModels/x',}", "b@x.com"),
        (b"{}", ""),
        (b"", ""),
    ],
)
def test_a_transfer_names_an_address(body, address):
    assert parse_transfer_ownership(body) == address


def test_a_transfer_has_no_prefix_in_its_paths():
    said = message_of(lambda: parse_transfer_ownership(b'{"foo": 1, "emailAddress": 7}'))
    assert said.splitlines() == [
        'Invalid JSON payload received. Unknown name "foo": Cannot find field.',
        "Invalid value at 'email_address' (TYPE_STRING), 7",
    ]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [({}, (None, "")), ({"pageSize": "3", "page_token": "t"}, (3, "t")), ({"page_size": "0"}, (0, ""))],
)
def test_a_page_is_asked_for(query, wanted):
    assert parse_list_permissions(query) == PermissionsQuery(page_size=wanted[0], page_token=wanted[1])


def permission(email, role=Role.READER):
    return Permission(
        id=PermissionId("p1"),
        model_id=TunedModelId("m"),
        grantee_type=GranteeType.GROUP if email else GranteeType.EVERYONE,
        email=Email(email) if email else None,
        role=role,
    )


def printed(answer, **options):
    return json.dumps(encode(answer.message, answer.fields, **options))


def test_permissions_are_printed_in_the_order_of_their_fields():
    name = "tunedModels/m/permissions/p1"
    team = f'{{"name": "{name}", "granteeType": "GROUP", "emailAddress": "t@x.com", "role": "WRITER"}}'
    everyone = f'{{"name": "{name}", "granteeType": 3, "role": 3}}'
    assert printed(render_permission(permission("t@x.com", Role.WRITER))) == team
    assert printed(render_permission(permission(None)), enums_as_numbers=True) == everyone
    page = render_permissions([permission("t@x.com", Role.WRITER)], "next")
    assert printed(page) == f'{{"permissions": [{team}], "nextPageToken": "next"}}'
    assert printed(render_permissions([], "")) == "{}"
