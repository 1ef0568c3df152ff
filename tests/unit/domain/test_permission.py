"""Who may do what."""

import pytest

from tuningfork.domain.permission import (
    Action,
    Email,
    GranteeType,
    Permission,
    PermissionId,
    Principal,
    Role,
    allows,
    role_of,
)
from tuningfork.domain.tuned_model import TunedModelId

ADA = Principal(email=Email("ada@example.com"))


def grant(role, email="ada@example.com", kind=GranteeType.USER):
    return Permission(
        id=PermissionId("p"), model_id=TunedModelId("m"), grantee_type=kind, email=email and Email(email), role=role
    )


def test_roles_are_concentric():
    assert [role.rank for role in (Role.READER, Role.WRITER, Role.OWNER)] == [1, 2, 3]


READING = {Action.GET, Action.GENERATE, Action.TUNE_ON, Action.SEE_PERMISSIONS}
WRITING = {Action.CANCEL, Action.UPDATE, Action.SHARE}


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        (None, set()),
        (Role.READER, READING),
        (Role.WRITER, READING | WRITING),
        (Role.OWNER, READING | WRITING | {Action.DELETE, Action.TRANSFER}),
    ],
)
def test_a_role_allows_what_it_is_documented_to_allow(role, allowed):
    assert {action for action in Action if allows(role, action)} == allowed


def test_a_stranger_has_no_role():
    assert role_of(ADA, [grant(Role.OWNER, "bob@example.com")]) is None


def test_the_strongest_of_several_roles_counts():
    everyone = grant(Role.READER, None, GranteeType.EVERYONE)
    assert role_of(ADA, [everyone, grant(Role.WRITER)]) is Role.WRITER


def test_everyone_includes_strangers():
    assert role_of(ADA, [grant(Role.READER, None, GranteeType.EVERYONE)]) is Role.READER


def test_a_groups_address_is_no_persons_address():
    assert role_of(ADA, [grant(Role.OWNER, kind=GranteeType.GROUP)]) is None


def test_the_same_address_in_another_project_is_the_same_person():
    assert role_of(Principal(email=ADA.email, project="456"), [grant(Role.OWNER)]) is Role.OWNER
