"""Who may do what."""

from dataclasses import replace

import pytest

from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.permission import (
    Action,
    Email,
    GranteeType,
    Permission,
    PermissionId,
    PermissionRequest,
    Principal,
    Role,
    allows,
    parse_email,
    role_of,
    violations_of,
)
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.wire.gemini.permissions import CREATE

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
    assert role_of(ADA, [grant(Role.WRITER, kind=GranteeType.GROUP)]) is None
    member = Principal(email=ADA.email, groups=frozenset({Email("team@example.com")}))
    assert role_of(member, [grant(Role.WRITER, "team@example.com")]) is None


def test_a_group_gives_its_role_to_its_members():
    member = Principal(email=ADA.email, groups=frozenset({Email("all@example.com"), Email("team@example.com")}))
    granted = grant(Role.WRITER, "team@example.com", GranteeType.GROUP)
    assert role_of(member, [granted]) is Role.WRITER
    assert role_of(ADA, [granted]) is None


@pytest.mark.parametrize(
    ("project", "numbers", "role"),
    [
        ("123", (7, 123), Role.READER),
        ("0123", (123,), Role.READER),
        ("9223372036854775807", (2**63 - 1,), Role.READER),
        ("123", (1234, 12), None),
        ("123", (), None),
        ("", (0,), None),
        ("0", (0,), None),
        ("-1", (-1,), None),
        ("local", (0, 1), None),
        ("\u0663", (3,), None),
        ("9223372036854775808", (2**63,), None),
        ("1" * 5_000, (1,), None),
    ],
)
def test_whoever_calls_for_a_reader_project_is_a_reader(project, numbers, role):
    assert role_of(Principal(email=ADA.email, project=project), [], numbers) is role


def test_a_reader_project_takes_no_stronger_role_away():
    assert role_of(Principal(email=ADA.email, project="7"), [grant(Role.OWNER)], (7,)) is Role.OWNER


@pytest.mark.parametrize("text", ["ada@example.com", " Ada@Example.COM\n", "ADA@EXAMPLE.COM"])
def test_an_address_has_one_form(text):
    assert parse_email(text) == "ada@example.com"


@pytest.mark.parametrize(
    "text", ["", "ada", "@example.com", "ada@", "a@b@c", "a da@example.com", "a\0@b", "a\u2028@b", "a" * 253 + "@b"]
)
def test_what_is_no_address_is_refused_with_one_that_is(text):
    with pytest.raises(ValueError, match=r"must be an address such as ada@example\.com, at most 254 characters; "):
        parse_email(text)


@pytest.mark.parametrize(
    ("text", "ordinary"),
    [
        # The Kelvin sign's small letter is an ordinary k: whoever can register it elsewhere would be somebody else.
        ("\u212aevin@example.com", "Kevin@example.com"),
        ("e\u0301mile@example.com", "émile@example.com"),
        ("\uff41da@example.com", "ada@example.com"),
        ("ada@\u2100.example", "ada@a/c.example"),
    ],
)
def test_an_address_has_one_spelling(text, ordinary):
    with pytest.raises(ValueError, match="must be spelled") as caught:
        parse_email(text)
    assert str(caught.value) == f"must be spelled with ordinary characters, as {ordinary!r}; {text!a} was given"


USER, GROUP, EVERYONE = GranteeType
NEEDS_ADDRESS = "email_address is required"
NEEDS_ROLE = "role is required: READER or WRITER"
ONE_OWNER = "role must be READER or WRITER; a model has one owner, and tunedModels.transferOwnership makes another"


@pytest.mark.parametrize(
    ("grantee_type", "address", "role", "found"),
    [
        (USER, "ada@example.com", Role.READER, []),
        (GROUP, "ada@example.com", Role.WRITER, []),
        (EVERYONE, "", Role.READER, []),
        (EVERYONE, "", Role.WRITER, ["role must be READER for EVERYONE; WRITER was given"]),
        (EVERYONE, "", Role.OWNER, [ONE_OWNER]),
        (USER, "ada@example.com", Role.OWNER, [ONE_OWNER]),
        (USER, "", Role.READER, [NEEDS_ADDRESS]),
        (GROUP, " ", None, [NEEDS_ADDRESS, NEEDS_ROLE]),
        (EVERYONE, "a@b", Role.READER, ["email_address must not be set for EVERYONE; 'a@b' was given"]),
        (None, "a@b", Role.READER, ["grantee_type is required: USER, GROUP or EVERYONE"]),
        (None, "", None, ["grantee_type is required: USER, GROUP or EVERYONE", NEEDS_ROLE]),
        (
            USER,
            "ada",
            Role.READER,
            ["email_address must be an address such as ada@example.com, at most 254 characters; 'ada' was given"],
        ),
    ],
)
def test_everything_wrong_with_a_grant_is_said(grantee_type, address, role, found):
    request = PermissionRequest(grantee_type=grantee_type, email_address=address, role=role)
    refusal = InvalidArgument(violations=violations_of(request))
    violations = replace(CREATE, places={}, sentences=False).translate(refusal).violations
    assert [violation.description for violation in violations] == found
    assert all(violation.description.startswith(violation.field) for violation in violations)


def test_the_same_address_in_another_project_is_the_same_person():
    assert role_of(Principal(email=ADA.email, project="456"), [grant(Role.OWNER)]) is Role.OWNER
