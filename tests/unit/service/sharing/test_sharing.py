"""Sharing a tuned model, and giving it to somebody else."""

import re
from dataclasses import replace

import pytest

from spoken import refusing, said
from tuningfork.domain.errors import AlreadyExists, InvalidArgument, NotFound, PermissionDenied
from tuningfork.domain.permission import Email, GranteeType, PermissionRequest, Principal, Role
from tuningfork.domain.refusals import PermissionRef
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.service.sharing.groups import Groups
from tuningfork.wire.gemini.names import name_of
from tuningfork.wire.gemini.permissions import CREATE
from workshop import ADA, BOB, number_request

M = TunedModelId("m")
CAROL = Principal(email=Email("carol@example.com"))
TEAM = Email("team@example.com")
USER, GROUP, EVERYONE = GranteeType
READER, WRITER, OWNER = Role


@pytest.fixture
def sharing(workshop):
    """The use cases, with a model `m` of Ada's."""
    workshop.tuning.create(ADA, number_request(tuned_model_id=M))
    return workshop.sharing


@pytest.fixture
def groups(database, clock):
    return Groups(database, clock)


def for_(who, role=READER, grantee_type=USER):
    address = who.email if isinstance(who, Principal) else who
    return PermissionRequest(grantee_type=grantee_type, email_address=address, role=role)


FOR_EVERYONE = PermissionRequest(grantee_type=EVERYONE, role=READER)


def grants(sharing, who=ADA):
    """Who has which role, by the list."""
    return {permission.email: permission.role for permission in sharing.list(who, M).items}


def of(sharing, email):
    return next(permission for permission in sharing.list(ADA, M).items if permission.email == email)


def named(permission):
    return name_of(PermissionRef(permission.model_id, permission.id))


def violations(act):
    with pytest.raises(InvalidArgument) as caught:
        act()
    told = replace(CREATE, places={}, sentences=False).translate(caught.value)
    return {violation.field: violation.description for violation in told.violations}


def test_the_owners_permission_is_there_from_the_start(sharing):
    (owner,) = sharing.list(ADA, M).items
    assert (owner.grantee_type, owner.email, owner.role) == (USER, ADA.email, OWNER)
    assert sharing.get(ADA, M, owner.id) == owner


def test_a_grant_can_be_read_back_under_its_name(sharing):
    made = sharing.create(ADA, M, for_("Bob@Example.com", WRITER))
    assert (made.grantee_type, made.email, made.role) == (USER, BOB.email, WRITER)
    assert re.fullmatch(r"tunedModels/m/permissions/[a-z0-9]+", named(made))
    assert sharing.get(ADA, M, made.id) == made


def test_what_is_shared_can_be_used(sharing, workshop):
    with refusing(PermissionDenied, match="You do not have permission to access tuned model tunedModels/m"):
        workshop.tuning.get(BOB, M)
    sharing.create(ADA, M, for_(BOB))
    assert workshop.tuning.get(BOB, M).model.id == M
    with pytest.raises(PermissionDenied):
        sharing.create(BOB, M, for_(CAROL))


def test_a_group_is_named_before_or_after_it_has_members(sharing, groups, workshop):
    sharing.create(ADA, M, for_(TEAM, WRITER, GROUP))
    groups.add(TEAM, [BOB.email])
    bob = workshop.access.principal(BOB.email, "", "")
    sharing.create(bob, M, FOR_EVERYONE)

    groups.remove(TEAM, [BOB.email])
    with pytest.raises(PermissionDenied):
        sharing.create(workshop.access.principal(BOB.email, "", ""), M, for_(CAROL))


def test_everyone_may_read_and_do_no_more(sharing, workshop):
    sharing.create(ADA, M, FOR_EVERYONE)
    assert workshop.tuning.get(CAROL, M).model.id == M
    assert grants(sharing, CAROL) == {ADA.email: OWNER, None: READER}
    with pytest.raises(PermissionDenied):
        sharing.create(CAROL, M, for_(CAROL, WRITER))


def test_a_writer_shares_and_a_reader_does_not(sharing):
    sharing.create(ADA, M, for_(BOB, WRITER))
    sharing.create(BOB, M, for_(CAROL))
    for act in (
        lambda: sharing.create(CAROL, M, FOR_EVERYONE),
        lambda: sharing.update(CAROL, M, of(sharing, BOB.email).id, READER),
        lambda: sharing.delete(CAROL, M, of(sharing, BOB.email).id),
    ):
        with pytest.raises(PermissionDenied):
            act()
    assert grants(sharing, CAROL) == {ADA.email: OWNER, BOB.email: WRITER, CAROL.email: READER}


@pytest.mark.parametrize("again", [for_(BOB, WRITER), for_(" BOB@example.com"), for_(BOB, grantee_type=GROUP)])
def test_nobody_is_granted_a_second_role(sharing, again):
    first = sharing.create(ADA, M, for_(BOB))
    with pytest.raises(AlreadyExists) as caught:
        sharing.create(ADA, M, again)
    assert said(caught.value) == (
        "A permission for bob@example.com on tunedModels/m already exists: "
        f"{named(first)} (USER, READER). Change its role, or delete it first."
    )


def test_neither_the_owner_nor_everyone_is_granted_twice(sharing):
    sharing.create(ADA, M, FOR_EVERYONE)
    with refusing(AlreadyExists, match="A permission for EVERYONE on tunedModels/m already exists"):
        sharing.create(ADA, M, FOR_EVERYONE)
    with refusing(AlreadyExists, match=r"\(USER, OWNER\)\. It may do everything\.$"):
        sharing.create(ADA, M, for_(ADA))


def test_the_same_grantee_on_another_model_is_no_duplicate(sharing, workshop):
    workshop.tuning.create(ADA, number_request(tuned_model_id="n"))
    sharing.create(ADA, M, for_(BOB))
    assert sharing.create(ADA, TunedModelId("n"), for_(BOB)).model_id == "n"


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (PermissionRequest(), {"grantee_type", "role"}),
        (for_(BOB, OWNER), {"role"}),
        (for_(BOB, None), {"role"}),
        (for_(""), {"email_address"}),
        (for_("bob", OWNER, GROUP), {"email_address", "role"}),
        (replace(FOR_EVERYONE, role=WRITER), {"role"}),
        (replace(FOR_EVERYONE, email_address="bob@example.com"), {"email_address"}),
    ],
)
def test_a_wrong_grant_is_refused_field_by_field(sharing, request_, fields):
    assert violations(lambda: sharing.create(ADA, M, request_)).keys() == fields
    assert grants(sharing) == {ADA.email: OWNER}


def test_a_group_is_not_taken_for_a_person(sharing, groups):
    groups.add(TEAM, [BOB.email])
    said = violations(lambda: sharing.create(ADA, M, for_(TEAM)))
    assert said == {"grantee_type": "grantee_type must be GROUP: team@example.com is the address of a group"}


def test_a_role_is_changed_both_ways(sharing):
    made = sharing.create(ADA, M, for_(BOB))
    for role in (WRITER, WRITER, READER):
        assert sharing.update(ADA, M, made.id, role) == replace(made, role=role)
        assert sharing.get(ADA, M, made.id).role is role


def test_a_role_that_they_cannot_have_is_refused(sharing):
    bob = sharing.create(ADA, M, for_(BOB))
    everyone = sharing.create(ADA, M, FOR_EVERYONE)
    said = [
        violations(lambda: sharing.update(ADA, M, bob.id, None))["role"],
        violations(lambda: sharing.update(ADA, M, bob.id, OWNER))["role"],
        violations(lambda: sharing.update(ADA, M, everyone.id, WRITER))["role"],
    ]
    assert said == [
        "role is required: READER or WRITER",
        "role must be READER or WRITER; a model has one owner, and tunedModels.transferOwnership makes another",
        "role must be READER for EVERYONE; WRITER was given",
    ]
    assert grants(sharing) == {ADA.email: OWNER, BOB.email: READER, None: READER}


@pytest.mark.parametrize("who", [ADA, BOB], ids=["the owner", "a writer"])
def test_nobody_changes_or_deletes_the_owners_permission(sharing, who):
    sharing.create(ADA, M, for_(BOB, WRITER))
    owner = of(sharing, ADA.email)
    for act in (lambda: sharing.update(who, M, owner.id, READER), lambda: sharing.delete(who, M, owner.id)):
        with pytest.raises(InvalidArgument) as caught:
            act()
        assert said(caught.value) == (
            f"Permission {named(owner)} is the owner's; it can be neither changed nor deleted. "
            "tunedModels.transferOwnership makes somebody else the owner."
        )
    assert grants(sharing)[ADA.email] is OWNER


def test_what_was_deleted_gives_nothing_more(sharing, workshop):
    bob = sharing.create(ADA, M, for_(BOB))
    sharing.delete(ADA, M, bob.id)
    with pytest.raises(PermissionDenied):
        workshop.tuning.get(BOB, M)
    with refusing(NotFound, match=f"Permission {named(bob)} does not exist"):
        sharing.delete(ADA, M, bob.id)
    assert sharing.create(ADA, M, for_(BOB)).id != bob.id


def test_a_writer_may_leave(sharing):
    bob = sharing.create(ADA, M, for_(BOB, WRITER))
    sharing.delete(BOB, M, bob.id)
    assert grants(sharing) == {ADA.email: OWNER}


@pytest.mark.parametrize("permission_id", ["nothere", "a\0b", "", "x" * 10_000])
def test_a_permission_that_is_not_there_is_not_found(sharing, permission_id):
    for act in (
        lambda: sharing.get(ADA, M, permission_id),
        lambda: sharing.update(ADA, M, permission_id, READER),
        lambda: sharing.delete(ADA, M, permission_id),
    ):
        with refusing(NotFound, match=r"Permission tunedModels/m/permissions/.* does not exist"):
            act()


def test_a_permission_of_another_model_is_not_found(sharing, workshop):
    workshop.tuning.create(BOB, number_request(tuned_model_id="n"))
    (bobs,) = sharing.list(BOB, TunedModelId("n")).items
    with pytest.raises(NotFound):
        sharing.get(ADA, M, bobs.id)


@pytest.mark.parametrize("model_id", ["nothere", "a\0b"])
def test_a_model_that_is_not_there_is_not_found(sharing, model_id):
    for act in (
        lambda: sharing.create(ADA, model_id, for_(BOB)),
        lambda: sharing.list(ADA, model_id),
        lambda: sharing.delete(ADA, model_id, "p"),
        lambda: sharing.transfer_ownership(ADA, model_id, BOB.email),
    ):
        with refusing(NotFound, match=r"Tuned model tunedModels/.* does not exist"):
            act()


def test_a_stranger_sees_no_permissions(sharing):
    owner = of(sharing, ADA.email)
    for act in (lambda: sharing.list(BOB, M), lambda: sharing.get(BOB, M, owner.id)):
        with refusing(PermissionDenied, match="You do not have permission to access tuned model tunedModels/m"):
            act()


def test_pages_neither_repeat_nor_hide_permissions_while_others_come_and_go(sharing):
    made = sorted(sharing.create(ADA, M, for_(f"p{number:02}@example.com")).id for number in range(11))
    everybody = sorted([*made, of(sharing, ADA.email).id])
    first = sharing.list(ADA, M)
    assert [permission.id for permission in first.items] == everybody[:10]

    # Who was shown last goes, which is no place to begin any more.
    gone = next(each for each in reversed(first.items) if each.role is not OWNER)
    sharing.delete(ADA, M, gone.id)
    last = sharing.list(ADA, M, page_token=first.next_page_token)
    assert [permission.id for permission in last.items] == everybody[10:]
    assert last.next_page_token == ""


def test_a_token_belongs_to_its_model(sharing, workshop):
    workshop.tuning.create(ADA, number_request(tuned_model_id="n"))
    sharing.create(ADA, M, for_(BOB))
    token = sharing.list(ADA, M, page_size=1).next_page_token
    assert "another" in violations(lambda: sharing.list(ADA, TunedModelId("n"), page_token=token))["page_token"]
    assert len(sharing.list(ADA, M, page_size=1, page_token=token).items) == 1


@pytest.mark.parametrize("arguments", [{"page_size": -1}, {"page_token": "x"}])
def test_a_wrong_page_is_refused(sharing, arguments):
    assert violations(lambda: sharing.list(ADA, M, **arguments)).keys() == arguments.keys()


def test_the_new_owner_owns_and_the_old_one_writes(sharing, workshop):
    sharing.transfer_ownership(ADA, M, " Bob@example.com")
    assert grants(sharing) == {ADA.email: WRITER, BOB.email: OWNER}
    with pytest.raises(PermissionDenied):
        workshop.tuning.delete(ADA, M)
    workshop.tuning.delete(BOB, M)


@pytest.mark.parametrize("before", [READER, WRITER])
def test_the_new_owners_older_permission_becomes_the_owners(sharing, before):
    older = sharing.create(ADA, M, for_(BOB, before))
    sharing.transfer_ownership(ADA, M, BOB.email)
    assert grants(sharing) == {ADA.email: WRITER, BOB.email: OWNER}
    assert sharing.get(ADA, M, older.id).role is OWNER


def test_ownership_goes_there_and_back_again(sharing):
    sharing.transfer_ownership(ADA, M, BOB.email)
    sharing.transfer_ownership(BOB, M, ADA.email)
    assert grants(sharing) == {ADA.email: OWNER, BOB.email: WRITER}


def test_to_give_it_to_oneself_changes_nothing(sharing):
    before = sharing.list(ADA, M)
    sharing.transfer_ownership(ADA, M, "ADA@example.com")
    assert sharing.list(ADA, M) == before


@pytest.mark.parametrize("role", [None, READER, WRITER])
def test_only_the_owner_gives_it_away_not_even_to_themselves(sharing, role):
    if role:
        sharing.create(ADA, M, for_(BOB, role))
    for heir in (BOB, CAROL):
        with refusing(PermissionDenied, match="You need to be the owner of the resource to transfer ownership"):
            sharing.transfer_ownership(BOB, M, heir.email)
    assert grants(sharing)[ADA.email] is OWNER


@pytest.mark.parametrize("address", ["", " ", "bob", "a\0@b"])
def test_an_heir_needs_an_address(sharing, address):
    assert violations(lambda: sharing.transfer_ownership(ADA, M, address)).keys() == {"email_address"}


def test_a_group_never_owns(sharing, groups):
    sharing.create(ADA, M, for_("empty@example.com", READER, GROUP))
    groups.add(TEAM, [BOB.email])
    for address in (TEAM, "empty@example.com"):
        said = violations(lambda address=address: sharing.transfer_ownership(ADA, M, address))
        assert said == {
            "email_address": f"email_address {address} is the address of a group; a model is owned by a person"
        }
    assert grants(sharing)[ADA.email] is OWNER
