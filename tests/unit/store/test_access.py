"""Rows of permissions and keys."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from store_rows import NOW, grant, model
from tuningfork.domain.api_key import ApiKey, ApiKeyId
from tuningfork.domain.permission import Email, GranteeType, PermissionId, Principal, Role
from tuningfork.store import access, tuned_models


def key(name):
    return ApiKey(
        id=ApiKeyId(name),
        name=f"key {name}",
        principal=Principal(email=Email("ada@example.com"), project="123"),
        prefix="tf_abcde",
        create_time=NOW,
    )


@pytest.fixture
def kept(database):
    with database.write() as connection:
        tuned_models.insert(connection, model("m"))
        access.grant(connection, grant("m", "ada@example.com"))
    return database


def test_permissions_come_back_as_they_were_granted(kept):
    everyone = grant("m", None, Role.READER)
    with kept.write() as connection:
        access.grant(connection, everyone)
        found = access.permissions_of(connection, model("m").id)
    assert found == [grant("m", "ada@example.com"), everyone]


@pytest.mark.parametrize(
    ("id_", "grantee_type", "email", "role"),
    [
        ("x", "USER", "ada@example.com", "READER"),
        ("x", "USER", "bob@example.com", "OWNER"),
        ("x", "USER", None, "READER"),
        ("x", "EVERYONE", "bob@example.com", "READER"),
        ("x", "DOMAIN", "example.com", "READER"),
        ("x", "USER", "bob@example.com", "EDITOR"),
    ],
    ids=["twice", "two owners", "nobody", "everyone and bob", "unknown grantee", "unknown role"],
)
def test_the_database_itself_refuses_a_wrong_permission(kept, id_, grantee_type, email, role):
    insert = text("INSERT INTO permissions (model_id, id, grantee_type, email, role) VALUES ('m', :id, :g, :e, :r)")
    with pytest.raises(IntegrityError), kept.write() as connection:
        connection.execute(insert, {"id": id_, "g": grantee_type, "e": email, "r": role})


def test_everyone_is_granted_once(kept):
    insert = text("INSERT INTO permissions (model_id, id, grantee_type, role) VALUES ('m', :id, 'EVERYONE', 'READER')")
    with kept.write() as connection:
        connection.execute(insert, {"id": "x"})
    with pytest.raises(IntegrityError), kept.write() as connection:
        connection.execute(insert, {"id": "y"})


def test_of_many_permissions_those_are_found_that_can_concern_somebody(kept):
    carol, team = Email("carol@example.com"), Email("team@example.com")
    everyone = grant("m", None, Role.READER)
    hers = [grant("m", carol, Role.READER), everyone, grant("m", team, Role.WRITER, GranteeType.GROUP)]
    with kept.write() as connection:
        for each in (*hers, grant("m", "eve@example.com", Role.READER)):
            access.grant(connection, each)
        member = Principal(email=carol, groups=frozenset({team}))
        assert access.permissions_for(connection, model("m").id, member) == hers
        assert access.permissions_for(connection, model("m").id, Principal(email=Email("dan@x"))) == [everyone]


def test_permissions_come_page_by_page_and_one_by_one(kept):
    others = [grant("m", f"{name}@example.com", Role.READER) for name in ("eve", "bob", "carol")]
    with kept.write() as connection:
        for each in others:
            access.grant(connection, each)
        first = access.page_of_permissions(connection, model("m").id, None, 3)
        rest = access.page_of_permissions(connection, model("m").id, first[-1].id, 3)
        one = access.find_permission(connection, model("m").id, PermissionId("bob"))
        none = access.find_permission(connection, model("m").id, PermissionId("dan"))
    assert [each.id for each in first] == ["ada", "bob", "carol"]
    assert [each.id for each in rest] == ["eve"]
    assert (one, none) == (others[1], None)


def test_a_role_changes_and_a_permission_goes_without_touching_others(kept):
    bob, carol = (grant("m", f"{name}@example.com", Role.READER) for name in ("bob", "carol"))
    with kept.write() as connection:
        tuned_models.insert(connection, model("n"))
        for each in (bob, carol, grant("n", "bob@example.com", Role.READER)):
            access.grant(connection, each)
        access.set_role(connection, bob, Role.WRITER)
        access.revoke(connection, carol)
        found = [access.permissions_of(connection, model(name).id) for name in ("m", "n")]
    assert found == [
        [grant("m", "ada@example.com"), replace(bob, role=Role.WRITER)],
        [grant("n", "bob@example.com", Role.READER)],
    ]


def test_groups_are_their_members(database):
    team, ada, bob = (Email(f"{name}@example.com") for name in ("team", "ada", "bob"))
    with database.write() as connection:
        access.add_members(connection, team, [bob, ada], NOW)
        access.add_members(connection, Email("other@example.com"), [ada], NOW)
        assert access.groups(connection) == [("other@example.com", 1), (team, 2)]
        assert access.members_of(connection, team) == [ada, bob]
        assert access.groups_of(connection, ada) == {team, "other@example.com"}

        access.remove_members(connection, team, [ada, bob])
        assert access.groups(connection) == [("other@example.com", 1)]
        assert access.groups_of(connection, bob) == frozenset()


def test_a_key_is_found_by_its_hash_only(database):
    with database.write() as connection:
        access.insert_key(connection, key("k"), "f" * 64)
        assert access.find_key(connection, "f" * 64) == key("k")
        assert access.find_key(connection, "e" * 64) is None


def test_a_key_is_revoked_once_and_for_all(database):
    with database.write() as connection:
        access.insert_key(connection, key("k"), "f" * 64)
        revoked = [access.revoke_key(connection, key("k").id, NOW + timedelta(days=day)) for day in (1, 2)]
        found = access.find_key(connection, "f" * 64)
    assert revoked == [True, True]
    assert found.revoke_time == NOW + timedelta(days=1)


def test_an_unknown_key_cannot_be_revoked(database):
    with database.write() as connection:
        assert access.revoke_key(connection, ApiKeyId("k"), NOW) is False
