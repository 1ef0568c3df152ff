"""The directory of groups: who is in, who is out, and that a change counts at once."""

import pytest

from tuningfork.domain.errors import InvalidArgument, NotFound
from tuningfork.service.sharing.groups import Groups
from workshop import ADA, BOB

TEAM = "team@example.com"


@pytest.fixture
def groups(database, clock):
    return Groups(database, clock)


def refusals(act):
    with pytest.raises(InvalidArgument) as caught:
        act()
    return [violation.description for violation in caught.value.violations]


def test_the_first_member_makes_a_group_and_the_last_one_takes_it_along(groups):
    groups.add(TEAM, [BOB.email, ADA.email])
    assert groups.list() == [(TEAM, 2)]
    assert groups.members(TEAM) == [ADA.email, BOB.email]

    groups.remove(TEAM, [ADA.email, BOB.email])
    assert groups.list() == []
    with pytest.raises(NotFound, match=r"There is no group team@example\.com; `groups list` shows those there are"):
        groups.members(TEAM)


def test_who_is_in_already_stays_however_they_are_spelled(groups):
    groups.add(TEAM, [ADA.email])
    groups.add(" Team@Example.COM ", ["Ada@EXAMPLE.com", "ada@example.com", BOB.email])
    assert groups.members("TEAM@example.com") == [ADA.email, BOB.email]


def test_a_stranger_cannot_leave_and_then_nobody_does(groups):
    groups.add(TEAM, [ADA.email])
    with pytest.raises(NotFound, match=r"bob@example\.com is not in team@example\.com"):
        groups.remove(TEAM, [ADA.email, BOB.email])
    assert groups.members(TEAM) == [ADA.email]


def test_groups_do_not_nest(groups):
    groups.add(TEAM, [ADA.email])

    assert refusals(lambda: groups.add("all@example.com", [BOB.email, TEAM])) == [
        "team@example.com is a group itself, and groups do not nest"
    ]
    assert refusals(lambda: groups.add(ADA.email, [BOB.email])) == [
        "ada@example.com is in team@example.com, and groups do not nest"
    ]
    assert refusals(lambda: groups.add(TEAM, [TEAM])) == ["team@example.com is a group itself, and groups do not nest"]
    assert groups.list() == [(TEAM, 1)]


def test_every_wrong_address_is_named(groups):
    wanted = "must be an address such as ada@example.com, at most 254 characters"
    assert refusals(lambda: groups.add("team", [ADA.email, "bob", "x" * 250 + "@e.de"])) == [
        f"group {wanted}; 'team' was given",
        f"member {wanted}; 'bob' was given",
        f"member {wanted}; {'x' * 80!r} was given",
    ]


def test_a_change_counts_from_the_next_call_on(groups, workshop):
    key = workshop.access.create_key("k", BOB.email, "").key
    found = []
    for change in (groups.add, groups.remove):
        change(TEAM, [BOB.email])
        found.append((workshop.access.authenticate(key).groups, workshop.access.principal(BOB.email, "", "").groups))
    assert found == [({TEAM}, {TEAM}), (set(), set())]
