"""Decisions about one model that are made at the same time."""

import threading

import pytest

from tuningfork.domain.errors import AlreadyExists, InvalidArgument, NotFound, PermissionDenied, TuningforkError
from tuningfork.domain.permission import Email, GranteeType, PermissionRequest, Principal, Role
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.service.sharing.groups import Groups
from workshop import ADA, number_request

M = TunedModelId("m")
PEOPLE = tuple(Principal(email=Email(f"p{number}@example.com")) for number in range(8))


def at_once(*actions):
    """What each action came to when all began together: its answer, or the error that it was refused with."""
    barrier, ends = threading.Barrier(len(actions)), [None] * len(actions)

    def run(index, action):
        barrier.wait()
        try:
            ends[index] = action()
        except Exception as error:  # noqa: BLE001 - looked at below
            ends[index] = error

    threads = [threading.Thread(target=run, args=each) for each in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    unforeseen = [end for end in ends if isinstance(end, Exception) and not isinstance(end, TuningforkError)]
    assert not unforeseen, unforeseen
    return ends


@pytest.fixture
def sharing(workshop):
    workshop.tuning.create(ADA, number_request(tuned_model_id=M))
    return workshop.sharing


def reading(who):
    return PermissionRequest(grantee_type=GranteeType.USER, email_address=who.email, role=Role.READER)


def owners(sharing):
    return [each.email for each in sharing.list(ADA, M).items if each.role is Role.OWNER]


@pytest.mark.parametrize("round_", range(3))
def test_a_model_that_is_given_to_several_people_at_once_goes_to_one_of_them(sharing, round_):
    for who in PEOPLE[:4]:
        sharing.create(ADA, M, reading(who))

    ends = at_once(*(lambda who=who: sharing.transfer_ownership(ADA, M, who.email) for who in PEOPLE))

    winners = [who.email for who, end in zip(PEOPLE, ends, strict=True) if end is None]
    assert len(winners) == 1
    assert owners(sharing) == winners
    assert all(isinstance(end, PermissionDenied) for end in ends if end is not None)


@pytest.mark.parametrize("round_", range(3))
def test_of_the_same_grant_made_at_once_one_is_made(sharing, round_):
    ends = at_once(*[lambda: sharing.create(ADA, M, reading(PEOPLE[0]))] * 6)

    assert sum(isinstance(end, AlreadyExists) for end in ends) == 5
    assert [each.email for each in sharing.list(ADA, M).items].count(PEOPLE[0].email) == 1


@pytest.mark.parametrize("round_", range(3))
def test_who_becomes_the_owner_while_their_permission_is_deleted_owns_it(sharing, round_):
    """Either the deletion came first, and they own it anew; or it came second, and is refused."""
    older = sharing.create(ADA, M, reading(PEOPLE[0]))

    at_once(
        lambda: sharing.transfer_ownership(ADA, M, PEOPLE[0].email),
        lambda: sharing.delete(ADA, M, older.id),
        lambda: sharing.update(ADA, M, older.id, Role.WRITER),
    )

    assert owners(sharing) == [PEOPLE[0].email]
    roles = {each.email: each.role for each in sharing.list(ADA, M).items}
    assert roles == {ADA.email: Role.WRITER, PEOPLE[0].email: Role.OWNER}


@pytest.mark.parametrize("round_", range(3))
def test_groups_that_change_at_once_do_not_nest_and_take_everybody_in(database, clock, round_):
    groups = Groups(database, clock)
    team, whole = "team@example.com", "all@example.com"
    addresses = [who.email for who in PEOPLE]

    ends = at_once(
        *(lambda: groups.add(team, addresses) for _ in range(3)),
        lambda: groups.add(whole, [team]),
        lambda: groups.add(whole, [PEOPLE[0].email]),
    )

    found = {name: groups.members(name) for name, _ in groups.list()}
    # Whichever came first of the team's members and its own membership, the other was refused.
    assert (found.get(team) == addresses) != (team in found.get(whole, []))
    assert all(isinstance(end, InvalidArgument) for end in ends if end is not None)


@pytest.mark.parametrize("round_", range(3))
def test_a_model_that_is_deleted_while_it_is_shared_leaves_nothing(sharing, workshop, database, round_):
    ends = at_once(
        lambda: workshop.tuning.delete(ADA, M),
        *(lambda who=who: sharing.create(ADA, M, reading(who)) for who in PEOPLE[:4]),
        lambda: sharing.transfer_ownership(ADA, M, PEOPLE[4].email),
    )

    refused = [end for end in ends if isinstance(end, Exception)]
    assert all(isinstance(end, (NotFound, PermissionDenied)) for end in refused), refused
    deleted = ends[0] is None
    with database.read() as connection:
        rows = connection.exec_driver_sql("SELECT count(*) FROM permissions").scalar_one()
    assert (rows == 0) == deleted
