"""Writers that wait for a SQLite database are few and wait for a bounded time, and nobody who reads waits for them."""

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from patience import PATIENCE_SECONDS, wait_until
from tuningfork.domain.errors import Busy
from tuningfork.store.database import Database
from tuningfork.store.write_turns import OF_REQUESTS, OF_WORK, Patience, WriteTurns, busy_reported

INSERT = text("INSERT INTO group_members VALUES (:name, :name, '2024-03-14 15:09:04')")


@pytest.fixture
def file(tmp_path, migrated_sqlite_file):
    path = tmp_path / "busy.db"
    path.write_bytes(migrated_sqlite_file.read_bytes())
    return path


@pytest.fixture
def database(file):
    database = Database.open(f"sqlite:///{file}")
    yield database
    database.close()


@pytest.fixture
def other_writer(file):
    """Another process's write that does not end, as far as SQLite can tell."""
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    connection.close()


def impatient(database, seconds=0.3, most_waiting=2):
    of_requests = database.for_requests()
    of_requests.patience = Patience(seconds=seconds, most_waiting=most_waiting)
    return of_requests


def write(database, name="a"):
    began = time.monotonic()
    try:
        with database.write() as connection:
            connection.execute(INSERT, {"name": name})
    except Busy as error:
        return time.monotonic() - began, error
    return time.monotonic() - began, None


def test_a_request_that_cannot_write_is_told_when_to_come_back(database, other_writer):
    seconds, error = write(impatient(database))

    assert 0.2 < seconds < OF_WORK.seconds / 2
    assert "held by another writer" in error.message
    assert error.retry_seconds == 5


def test_of_many_requests_few_wait_and_reads_go_on(database, other_writer):
    of_requests = impatient(database, seconds=PATIENCE_SECONDS)
    with ThreadPoolExecutor(20) as threads:
        writes = [threads.submit(write, of_requests, str(number)) for number in range(20)]
        wait_until(lambda: sum(each.done() for each in writes) >= 17)
        with database.read() as connection:
            assert connection.execute(text("SELECT count(*) FROM group_members")).scalar_one() == 0
        waiting = [each for each in writes if not each.done()]
        refused = [each.result()[1] for each in writes if each.done()]
        other_writer.execute("ROLLBACK")
        written = [each.result()[1] for each in waiting]

    # One is at the file, two wait for their turn, and the read waits for none of them.
    assert written == [None] * 3
    assert len(refused) == 17
    assert all(isinstance(error, Busy) for error in refused)


def test_whoever_has_time_waits_and_writes(database, other_writer):
    writing, ended = threading.Event(), []

    def write_and_tell():
        writing.set()
        ended.append(write(database))

    thread = threading.Thread(target=write_and_tell)
    thread.start()
    writing.wait(PATIENCE_SECONDS)
    # Longer than a request would wait; the write cannot end before the other does.
    thread.join(0.5)
    before = [*ended]
    other_writer.execute("ROLLBACK")
    thread.join()

    [(_, error)] = ended
    assert (before, error) == ([], None)


def test_after_the_other_writer_requests_are_served_again(database, other_writer):
    of_requests = impatient(database)
    before = write(of_requests)[1]
    other_writer.execute("ROLLBACK")
    after = write(of_requests)[1]

    assert isinstance(before, Busy)
    assert after is None


def test_a_thread_that_writes_for_long_refuses_requests_and_keeps_work_waiting():
    turns, held, over = WriteTurns(), threading.Event(), threading.Event()

    def hold():
        with turns.turn(OF_REQUESTS):
            held.set()
            over.wait(PATIENCE_SECONDS)

    holding = threading.Thread(target=hold)
    holding.start()
    held.wait(PATIENCE_SECONDS)
    with pytest.raises(Busy), turns.turn(replace(OF_REQUESTS, seconds=0.05)):
        pytest.fail("two wrote at a time")
    threading.Timer(0.2, over.set).start()
    with turns.turn(Patience(seconds=PATIENCE_SECONDS)):
        pass
    holding.join()


def test_turns_come_in_the_order_of_waiting_whoever_asks_again():
    turns, order = WriteTurns(), []

    def writes(name):
        with turns.turn(OF_WORK):
            order.append(name)

    with turns.turn(OF_WORK):
        threads = []
        for name in ("first", "second", "third"):
            threads.append(threading.Thread(target=writes, args=[name]))
            threads[-1].start()
            wait_until(lambda: turns.waiting == len(threads), seconds=PATIENCE_SECONDS, what=f"{name} waits")
    # It asks again at once, as a thread that writes in a loop does.
    writes("again")
    for thread in threads:
        thread.join()

    assert order == ["first", "second", "third", "again"]


def test_a_writer_that_gives_up_leaves_its_place_to_the_next():
    turns = WriteTurns()
    with turns.turn(OF_WORK), pytest.raises(Busy), turns.turn(Patience(seconds=0.05)):
        pass
    with turns.turn(Patience(seconds=0.05)):
        assert turns.waiting == 0


REFUSED = [
    "connection failed: FATAL:  sorry, too many clients already",
    "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute",
    'FATAL:  too many connections for role "tuningfork"',
]


@pytest.mark.parametrize("said", REFUSED)
def test_a_connection_that_postgresql_refuses_is_told_as_busy(said):
    error = OperationalError(None, None, Exception(said))

    with pytest.raises(Busy, match="has no connection left") as busy, busy_reported():
        raise error

    assert busy.value.retry_seconds == 5


def test_a_refused_connection_is_known_by_its_code_too():
    refused = Exception("zu viele Verbindungen")
    refused.sqlstate = "53300"

    with pytest.raises(Busy), busy_reported():
        raise OperationalError(None, None, refused)


def test_another_error_of_a_connection_is_told_as_it_is():
    error = OperationalError(None, None, Exception("connection failed: Connection refused"))

    with pytest.raises(OperationalError), busy_reported():
        raise error
