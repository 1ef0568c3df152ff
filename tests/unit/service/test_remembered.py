"""What is read is remembered until anybody writes, and not a commit longer."""

import subprocess
import sys

import pytest
from sqlalchemy.exc import IntegrityError

from tuningfork.domain.errors import ApiKeyNotValid
from tuningfork.service.identity.keys import Access
from tuningfork.service.remembered import Remembered
from tuningfork.service.sharing.groups import Groups
from tuningfork.store.database import Database


@pytest.fixture(autouse=True)
def sqlite(database):
    if database.version() is None:
        pytest.skip("only SQLite tells whether it has changed, so on PostgreSQL nothing is remembered")


@pytest.fixture
def access(workshop):
    return workshop.access


def write(database):
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE api_keys SET name = name || '!'")


def write_twice(database):
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE api_keys SET name = 'x'")
        connection.exec_driver_sql("INSERT INTO api_keys SELECT * FROM api_keys")


def test_the_version_stays_while_nobody_writes_and_is_another_one_after_a_commit(access, database):
    access.create_key("k", "ada@example.com", "")
    before = database.version()
    access.list_keys()
    assert database.version() == before
    write(database)
    assert database.version() != before


def test_what_is_rolled_back_has_changed_nothing(access, database):
    access.create_key("k", "ada@example.com", "")
    before = database.version()
    with pytest.raises(IntegrityError):
        write_twice(database)
    assert database.version() == before


def test_another_process_is_noticed_too(access, database, database_url):
    created = access.create_key("k", "ada@example.com", "")
    access.authenticate(created.key)
    assert access.authenticate_at_once(created.key) is not None
    program = (
        "import sys; from tuningfork.store.database import Database;"
        "from tuningfork.service.identity.keys import Access;"
        "from datetime import UTC, datetime;"
        "Access(Database.open(sys.argv[1]), lambda: datetime.now(UTC)).revoke_key(sys.argv[2])"
    )
    subprocess.run([sys.executable, "-c", program, database_url, created.record.id], check=True)
    assert access.authenticate_at_once(created.key) is None
    with pytest.raises(ApiKeyNotValid):
        access.authenticate(created.key)


def test_an_answer_is_read_once_and_again_after_a_commit(database):
    remembered = Remembered(database)
    readings = []

    def read():
        readings.append(None)
        return len(readings)

    assert [remembered.find("a"), remembered.of("a", read), remembered.of("a", read), remembered.find("a")] == [
        None,
        1,
        1,
        1,
    ]
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE anything (id INTEGER)")
    assert [remembered.find("a"), remembered.of("a", read)] == [None, 2]


def test_what_was_read_before_a_commit_is_not_remembered_as_if_read_after_it(database):
    remembered = Remembered(database)

    def read():
        # Somebody commits while it is read.
        with database.write() as connection:
            connection.exec_driver_sql("CREATE TABLE anything (id INTEGER)")
        return "old"

    assert remembered.of("a", read) == "old"
    assert remembered.find("a") is None


def test_when_there_is_too_much_all_is_forgotten(database):
    remembered = Remembered(database, most=2)
    for key in "abc":
        remembered.of(key, lambda key=key: key.upper())
    assert [remembered.find(key) for key in "abc"] == [None, None, "C"]


def test_two_keys_of_one_person_are_told_apart_when_they_are_remembered(access):
    keys = [access.create_key("k", "ada@example.com", "123") for _ in range(2)]
    for created in keys * 2:
        access.authenticate(created.key)
    assert [access.authenticate_at_once(created.key).credential for created in keys] == [k.record.id for k in keys]
    people = [access.principal("ada@example.com", "", shown) for shown in ("one", "two", "one")]
    assert [person.credential for person in people] == ["one", "two", "one"]


def test_whoever_joins_a_group_is_in_it_at_their_next_call(access, database, clock):
    created = access.create_key("k", "ada@example.com", "")
    access.authenticate(created.key)
    Groups(database, clock).add("team@example.com", ["ada@example.com"])
    assert access.authenticate_at_once(created.key) is None
    assert access.authenticate(created.key).groups == {"team@example.com"}


def test_a_key_is_known_to_one_server_as_soon_as_another_has_made_it(access, database_url, clock):
    beside = Database.open(database_url)
    created = Access(beside, clock).create_key("k", "ada@example.com", "")
    beside.close()
    assert access.authenticate(created.key).email == "ada@example.com"
