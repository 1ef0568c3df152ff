"""A database has one id, which every data directory can remember."""

import random
import re
from threading import Barrier, Thread

from tuningfork.store.database import Database
from tuningfork.store.database_id import database_id, known_id, remember, remembered


def asked(database, entropy):
    with database.write() as connection:
        return database_id(connection, entropy)


def test_a_database_has_no_id_until_it_is_asked_for_and_then_always_the_same(database):
    with database.read() as connection:
        assert known_id(connection) is None
    entropy = random.Random(1).getrandbits

    first = asked(database, entropy)

    assert re.fullmatch(r"[a-z0-9]{12}", first)
    assert asked(database, entropy) == first
    with database.read() as connection:
        assert known_id(connection) == first


def test_servers_that_ask_at_the_same_time_agree(database_url):
    Database.open(database_url).close()
    barrier, answers = Barrier(4), []

    def ask(seed):
        database = Database.open(database_url)
        barrier.wait()
        answers.append(asked(database, random.Random(seed).getrandbits))
        database.close()

    threads = [Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answers) == 4
    assert len(set(answers)) == 1


def test_a_directory_remembers_the_last_database_it_was_told(tmp_path):
    assert remembered(tmp_path) is None
    remember(tmp_path, "one")
    remember(tmp_path, "two")

    assert remembered(tmp_path) == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["database-id"]


def test_an_id_that_a_crash_left_empty_is_as_if_there_were_none(tmp_path):
    (tmp_path / "database-id").write_text("")
    assert remembered(tmp_path) is None
