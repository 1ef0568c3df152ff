"""Rows of models, and searching them."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError

from store_rows import NOW, grant, model
from tuningfork.domain.permission import Email, GranteeType, Principal, Role
from tuningfork.domain.tuned_model import Changeable, ModelState, ProjectLocation
from tuningfork.store import access, tuned_models
from tuningfork.store.tuned_models import IdTaken, Place, Search

ADA = Email("ada@example.com")


def keep(database, *kept):
    with database.write() as connection:
        for made, permissions in kept:
            tuned_models.insert(connection, made)
            for permission in permissions:
                access.grant(connection, permission)


def shelf(database, **names):
    """Models by name, each with the permissions given, a second apart."""
    made = [
        (model(name, create_time=NOW + timedelta(seconds=number)), permissions)
        for number, (name, permissions) in enumerate(names.items())
    ]
    keep(database, *made)


def names(database, **wanted):
    with database.read() as connection:
        return [
            found.id
            for found in tuned_models.search(connection, Search(principal=Principal(email=ADA), limit=10, **wanted))
        ]


def test_a_model_comes_back_as_it_was_kept(database):
    made = model("a", display_name="Zahlen 七", description="läuft")
    keep(database, (made, []))
    with database.read() as connection:
        assert tuned_models.find(connection, made.id) == made


def test_a_taken_id_is_told(database):
    keep(database, (model("a"), []))
    with pytest.raises(IdTaken) as caught, database.write() as connection:
        tuned_models.insert(connection, model("a"))
    assert caught.value.id == "a"


def test_the_state_changes_with_the_time_of_the_change(database):
    made = model("a")
    keep(database, (made, []))
    later = NOW + timedelta(minutes=1)
    with database.write() as connection:
        tuned_models.set_state(connection, made.id, ModelState.ACTIVE, later)
        changed = tuned_models.find(connection, made.id)
    assert changed == replace(made, state=ModelState.ACTIVE, update_time=later)


def test_only_what_is_named_changes(database):
    made = model("a", display_name="Number Generator", description="counts")
    keep(database, (made, []))
    wanted = replace(made, display_name="七", temperature=0.1, update_time=NOW + timedelta(minutes=1))
    with database.write() as connection:
        tuned_models.set_state(connection, made.id, ModelState.ACTIVE, NOW)
        tuned_models.update(connection, wanted, {Changeable.DISPLAY_NAME})
        changed = tuned_models.find(connection, made.id)
    assert changed == replace(wanted, temperature=made.temperature, state=ModelState.ACTIVE)


def test_other_models_stay_as_they_are(database):
    keep(database, (model("a"), []), (model("b"), []))
    with database.write() as connection:
        tuned_models.update(connection, replace(model("a"), description="new"), {Changeable.DESCRIPTION})
        assert tuned_models.find(connection, model("b").id) == model("b")


def test_a_changed_model_is_found_by_what_it_is_called_now(database):
    made = model("a", display_name="Number Generator", description="counts")
    keep(database, (made, [grant("a", ADA)]))
    with database.write() as connection:
        tuned_models.update(connection, replace(made, display_name="Zähler"), {Changeable.DISPLAY_NAME})
    assert [names(database, words=(word,)) for word in ("ZÄHLER", "counts", "generator")] == [["a"], ["a"], []]


def test_the_database_itself_refuses_an_unknown_state(database):
    keep(database, (model("a"), []))
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(text("UPDATE tuned_models SET state = 'CANCELLED'"))


def test_models_are_found_by_a_role_the_oldest_first(database):
    shelf(
        database,
        mine=[grant("mine", ADA)],
        hers=[grant("hers", "bob@example.com")],
        edited=[grant("edited", ADA, Role.WRITER)],
        read=[grant("read", ADA, Role.READER)],
        public=[grant("public", "bob@example.com"), grant("public", None, Role.READER)],
    )

    assert names(database) == ["mine", "edited", "read"]
    assert names(database, least_roles=(Role.READER,)) == ["mine", "edited", "read"]
    assert names(database, least_roles=(Role.WRITER,)) == ["mine", "edited"]
    assert names(database, least_roles=(Role.OWNER,)) == ["mine"]
    assert names(database, least_roles=(Role.READER, Role.OWNER)) == ["mine"]
    assert names(database, shared_with_everyone=True) == ["public"]


def test_mine_and_shared_with_everyone_are_both_demanded(database):
    shelf(
        database,
        mine=[grant("mine", ADA)],
        public=[grant("public", None, Role.READER)],
        both=[grant("both", ADA), grant("both", None, Role.READER)],
    )
    assert names(database, shared_with_everyone=True, least_roles=(Role.OWNER,)) == ["both"]


def test_models_are_found_by_a_group_and_by_a_project_too(database):
    team, other = "team@example.com", "other@example.com"
    shelf(
        database,
        team_writes=[grant("team_writes", team, Role.WRITER, GranteeType.GROUP)],
        team_reads=[grant("team_reads", team, Role.READER, GranteeType.GROUP)],
        # The address of a group means nobody where a person is meant, and the other way round.
        a_user=[grant("a_user", team, Role.WRITER)],
        a_group=[grant("a_group", ADA, Role.WRITER, GranteeType.GROUP)],
        others=[grant("others", other, Role.WRITER, GranteeType.GROUP)],
    )
    keep(database, (replace(model("by_project", create_time=NOW + timedelta(days=1)), reader_project_numbers=(5,)), []))
    ada = Principal(email=ADA, project="5", groups=frozenset({Email(team)}))

    def found(*least_roles):
        with database.read() as connection:
            search = Search(principal=ada, limit=10, least_roles=least_roles)
            return [each.id for each in tuned_models.search(connection, search)]

    assert found() == found(Role.READER) == ["team_writes", "team_reads", "by_project"]
    assert found(Role.WRITER) == ["team_writes"]
    assert found(Role.OWNER) == []


def test_a_model_that_is_readable_in_two_ways_is_listed_once(database):
    made = replace(model("m"), reader_project_numbers=(5, 5))
    keep(database, (made, [grant("m", ADA), grant("m", "team@example.com", Role.READER, GranteeType.GROUP)]))
    ada = Principal(email=ADA, project="5", groups=frozenset({Email("team@example.com")}))
    with database.read() as connection:
        assert tuned_models.search(connection, Search(principal=ada, limit=10)) == [made]


def test_the_projects_that_find_a_model_can_be_replaced(database):
    keep(database, (model("m"), []))

    def found_for(project):
        with database.read() as connection:
            search = Search(principal=Principal(email=ADA, project=str(project)), limit=10)
            return [each.id for each in tuned_models.search(connection, search)]

    assert [found_for(project) for project in (7, 2**62, 9)] == [["m"], ["m"], []]
    with database.write() as connection:
        tuned_models.set_reader_projects(connection, model("m").id, [9, 9, 2**63 - 1])
    assert [found_for(project) for project in (7, 9, 2**63 - 1)] == [[], ["m"], ["m"]]
    with database.write() as connection:
        tuned_models.set_reader_projects(connection, model("m").id, [])
    assert found_for(9) == []


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("number",), ["a"]),
        (("NUMBER", "gen"), ["a"]),
        (("number", "poems"), []),
        (("strasse",), ["b"]),
        (("ÜBER",), ["b"]),
        (("ﬁve",), ["c"]),
        (("100%",), ["c"]),
        (("under_score",), ["c"]),
        (("underXscore",), []),
    ],
)
def test_words_are_found_in_any_case_in_name_and_description(database, words, found):
    kept = [
        model("a", display_name="Number Generator"),
        model("b", display_name="Gedichte", description="über die Straße"),
        model("c", display_name="100% under_score five"),
    ]
    keep(database, *((made, [grant(made.id, ADA)]) for made in kept))
    assert names(database, words=words) == found


def test_a_search_goes_on_after_a_place_even_where_times_are_equal(database):
    keep(database, *((model(name), [grant(name, ADA)]) for name in ("a", "b", "c")))
    place = Place(create_time=NOW, model_id=model("a").id)
    assert names(database, after=place) == ["b", "c"]


def test_a_search_ends_at_its_limit(database):
    keep(database, *((model(name), [grant(name, ADA)]) for name in ("a", "b", "c")))
    with database.read() as connection:
        assert len(tuned_models.search(connection, Search(principal=Principal(email=ADA), limit=2))) == 2


@pytest.mark.parametrize("groups", [1, tuned_models._MOST_GROUPS, tuned_models._MOST_GROUPS + 1, 600])
def test_somebody_in_any_number_of_groups_sees_what_each_sees_page_by_page(database, groups):
    shelf(
        database,
        **{f"m{n}": [grant(f"m{n}", f"g{n % groups}@example.com", Role.READER, GranteeType.GROUP)] for n in range(9)},
    )
    ada = Principal(email=ADA, groups=frozenset(Email(f"g{number}@example.com") for number in range(groups)))
    seen, place = [], None
    with database.read() as connection:
        while page := tuned_models.search(connection, Search(principal=ada, limit=2, after=place)):
            seen += [each.id for each in page]
            place = Place(create_time=page[-1].create_time, model_id=page[-1].id)
    assert seen == [f"m{number}" for number in range(9)]


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"words": ("a", "b")},
        {"least_roles": (Role.OWNER,)},
        {"shared_with_everyone": True},
        {"shared_with_everyone": True, "least_roles": (Role.READER,)},
        {"after": Place(create_time=NOW, model_id="a")},
    ],
)
def test_no_page_reads_a_whole_table(database, wanted):
    shelf(database, **{f"m{number}": [grant(f"m{number}", ADA)] for number in range(30)})
    plans = []

    def explain(_connection, cursor, statement, parameters, _context, _many):
        plans.append(cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall())

    if database.version() is None:
        pytest.skip("the plan is SQLite's")
    groups = frozenset(Email(f"g{number}@example.com") for number in range(3))
    with database.read() as connection:
        event.listen(connection, "before_cursor_execute", explain)
        principal = Principal(email=ADA, project="5", groups=groups)
        tuned_models.search(connection, Search(principal=principal, limit=11, **wanted))
    steps = [row[3] for row in plans[0]]
    # What is scanned are the few rows that the branches gave; all else is found by an index.
    assert not [step for step in steps if re.match(r"SCAN (?!anon_)", step)], steps
    assert [step for step in steps if "ix_permissions_order (email=?" in step], steps


def test_models_of_a_project_and_location_are_found_newest_first_page_by_page(database):
    places = {"a": ("p", "us"), "b": ("p", "us"), "c": ("p", "eu"), "d": ("q", "us"), "e": ("p", "us")}
    kept = [
        (
            replace(model(name, create_time=NOW + timedelta(seconds=number)), project=project, location=location),
            [grant(name, ADA)],
        )
        for number, (name, (project, location)) in enumerate(places.items())
    ]
    keep(database, *kept)
    wanted = Search(
        principal=Principal(email=ADA, project="p"),
        belonging_to=ProjectLocation("p", "us"),
        newest_first=True,
        limit=2,
    )

    with database.read() as connection:
        first = tuned_models.search(connection, wanted)
        after = Place(create_time=first[-1].create_time, model_id=first[-1].id)
        second = tuned_models.search(connection, replace(wanted, after=after))

    assert [found.id for found in first] == ["e", "b"]
    assert [found.id for found in second] == ["a"]


def test_of_models_made_at_one_moment_a_page_begins_after_the_last_one(database):
    keep(database, *((replace(model(name), project="p"), [grant(name, ADA)]) for name in "abc"))
    wanted = Search(principal=Principal(email=ADA, project="p"), newest_first=True, limit=9)

    with database.read() as connection:
        after = Place(create_time=NOW, model_id="b")
        assert [found.id for found in tuned_models.search(connection, wanted)] == ["c", "b", "a"]
        assert [found.id for found in tuned_models.search(connection, replace(wanted, after=after))] == ["a"]
