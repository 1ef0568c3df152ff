"""Writers that wait for another transaction's lock are bounded in number and in time, on either database."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from sqlalchemy import text

from patience import PATIENCE_SECONDS, wait_until
from tuningfork.domain.errors import Busy
from tuningfork.store.database import lock_name
from tuningfork.store.write_turns import OF_REQUESTS, OF_WORK, Patience

NAME = "a lock that all of them want"


@contextmanager
def held(database):
    """Another thread's transaction has the lock, for as long as the context lasts."""
    begun, over = threading.Event(), threading.Event()

    def hold():
        with database.write() as connection:
            lock_name(connection, NAME)
            begun.set()
            over.wait(PATIENCE_SECONDS)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert begun.wait(PATIENCE_SECONDS)
        yield
    finally:
        over.set()
        thread.join()


def of_requests(database, seconds):
    requests = database.for_requests()
    requests.patience = Patience(seconds=seconds, most_waiting=OF_REQUESTS.most_waiting)
    return requests


def write(database):
    """How long it took, and whether the lock did not come."""
    began = time.monotonic()
    try:
        with database.write() as connection:
            lock_name(connection, NAME)
    except Busy as error:
        return time.monotonic() - began, error
    return time.monotonic() - began, None


def test_a_request_that_waits_for_anothers_lock_is_told_when_to_come_back(database):
    requests = of_requests(database, 0.3)
    with held(database):
        seconds, error = write(requests)

    assert 0.2 < seconds < OF_WORK.seconds / 2
    assert error.retry_seconds == 5
    assert write(requests)[1] is None


def test_of_many_requests_few_wait_and_reads_go_on(database, database_url):
    # On PostgreSQL eight wait for the lock and eight for their turn; on SQLite there is one turn, which is taken.
    waiting = 8 if database_url.startswith("sqlite") else 16
    requests = of_requests(database, PATIENCE_SECONDS)
    with ThreadPoolExecutor(40) as threads:
        with held(database):
            writes = [threads.submit(write, requests) for _ in range(40)]
            wait_until(lambda: sum(each.done() for each in writes) >= 40 - waiting)
            refused = [each.result()[1] for each in writes if each.done()]
            with requests.read() as connection:
                assert connection.execute(text("SELECT 1")).scalar_one() == 1
        errors = [each.result()[1] for each in writes]

    assert len(refused) == 40 - waiting
    assert all(isinstance(error, Busy) for error in refused)
    assert errors.count(None) == waiting


def test_the_dispatchers_writes_wait_for_longer(database):
    database.patience = Patience(seconds=PATIENCE_SECONDS)
    with ThreadPoolExecutor(1) as threads:
        with held(database):
            working = threads.submit(write, database)
            refused = write(of_requests(database, 0.3))[1]
            still_waiting = not working.done()
        error = working.result()[1]

    assert isinstance(refused, Busy)
    assert (still_waiting, error) == (True, None)
