"""API keys: made, recognised, revoked, and kept as hashes only."""

import pytest
from sqlalchemy import text

from tuningfork.domain.errors import ApiKeyNotValid, InvalidArgument, NotFound
from tuningfork.domain.permission import Principal
from tuningfork.service.sharing.groups import Groups


@pytest.fixture
def access(workshop):
    return workshop.access


def test_a_key_speaks_for_the_person_it_was_made_for(access):
    created = access.create_key("laptop", "ada@example.com", "123")
    assert access.authenticate(created.key) == Principal(email="ada@example.com", project="123")


def test_the_credential_is_the_keys_id_and_makes_nobody_another_person(access):
    keys = [access.create_key("k", "ada@example.com", "123") for _ in range(2)]
    principals = [access.authenticate(created.key) for created in keys]
    assert [principal.credential for principal in principals] == [created.record.id for created in keys]
    assert principals[0] == principals[1]


def test_whoever_speaks_is_in_their_groups(access, database, clock):
    Groups(database, clock).add("team@example.com", ["ada@example.com"])
    created = access.create_key("laptop", "Ada@example.com", "")
    found = [access.authenticate(created.key), access.holder(created.record.id)]
    assert [principal.groups for principal in found] == [{"team@example.com"}] * 2
    assert access.principal("bob@example.com", "7", "c").groups == frozenset()


def test_two_keys_with_one_address_are_the_same_person_in_any_case(access):
    keys = [access.create_key("k", address, "123") for address in ("ada@example.com", " Ada@Example.COM ")]
    assert len({access.authenticate(created.key) for created in keys}) == 1


@pytest.mark.parametrize("wrong", ["", "tf_", "tf_unknown", "AIzaSyUnknown", "\ud800", "x" * 100_000])
def test_an_unknown_key_is_refused(access, wrong):
    access.create_key("laptop", "ada@example.com", "123")
    with pytest.raises(ApiKeyNotValid):
        access.authenticate(wrong)


def test_a_revoked_key_is_refused_and_others_are_not(access):
    revoked, kept = (access.create_key("k", "ada@example.com", "") for _ in range(2))
    access.revoke_key(revoked.record.id)

    with pytest.raises(ApiKeyNotValid):
        access.authenticate(revoked.key)
    assert access.authenticate(kept.key).email == "ada@example.com"


def test_revoking_twice_changes_nothing(access):
    record = access.create_key("k", "ada@example.com", "").record
    access.revoke_key(record.id)
    (first,) = access.list_keys()
    access.revoke_key(record.id)
    assert access.list_keys() == [first]


def test_revoking_an_unknown_key_says_where_ids_are_shown(access):
    with pytest.raises(NotFound, match="API key nokey does not exist; `keys list` shows the ids"):
        access.revoke_key("nokey")


def test_keys_are_listed_without_themselves(access):
    created = [access.create_key(name, "ada@example.com", "123") for name in ("laptop", "server")]
    listed = access.list_keys()
    assert listed == [one.record for one in created]
    assert all(one.key not in repr(listed) and one.key.startswith(one.record.prefix) for one in created)


def test_no_key_is_kept_anywhere(access, database):
    created = access.create_key("laptop", "ada@example.com", "123")
    secret = created.key.removeprefix(created.record.prefix)
    with database.read() as connection:
        (row,) = connection.execute(text("SELECT * FROM api_keys"))
    assert not any(secret in str(value) for value in row)


def test_every_key_is_another_of_at_least_128_bits(access):
    keys = {access.create_key("k", "ada@example.com", "").key for _ in range(20)}
    assert len(keys) == 20
    # 43 base-64 characters hold 256 bits; 22 hold 128.
    assert min(len(key.removeprefix("tf_")) for key in keys) >= 22


@pytest.mark.parametrize("email", ["", "ada", "@example.com", "ada@", "a@b@c", "ada lovelace@example.com", "a\0@b"])
def test_a_key_needs_an_address(access, email):
    with pytest.raises(InvalidArgument, match="email must be an address such as ada"):
        access.create_key("k", email, "")


def test_there_are_keys_only_while_one_is_valid(access):
    before = access.has_keys()
    record = access.create_key("k", "ada@example.com", "").record
    between = access.has_keys()
    access.revoke_key(record.id)
    assert (before, between, access.has_keys()) == (False, True, False)
