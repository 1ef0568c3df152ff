"""Opening, migrating and sharing the database."""

import socket
import socketserver
import struct
import subprocess
import sys
import threading
from datetime import datetime

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import IntegrityError

from patience import PATIENCE_SECONDS
from tuningfork.domain.errors import Busy, FailedPrecondition
from tuningfork.store.credential_tables import api_keys
from tuningfork.store.database import Database, is_duplicate
from tuningfork.store.schema import metadata, tuned_models

INSERT = "INSERT INTO api_keys VALUES (:id, '', '', '', '', :id, '2024-03-14 00:00:00.000000+00:00', NULL)"

PROTOCOL_3 = 3 << 16
"""What the first message of a connection to PostgreSQL asks for, if it does not ask for encryption."""


@pytest.fixture
def sqlite_url(tmp_path):
    return f"sqlite:///{tmp_path / 'tuningfork.db'}"


def keys(database):
    with database.read() as connection:
        return {row.id for row in connection.execute(api_keys.select())}


def insert(connection, key):
    connection.execute(text(INSERT), {"id": key})


def definitions(engine):
    """Every table and index as SQLite keeps it: columns in order, constraints in any, conditions and all."""
    with engine.connect() as connection:
        query = text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name != 'alembic_version'")
        return {name: definition(sql) for name, sql in connection.execute(query)}


def definition(sql):
    # SQLite puts names of tables that were written anew into quotation marks.
    columns, *constraints = "".join(sql.replace('"', "").split()).split("CONSTRAINT")
    return columns, {constraint.rstrip(",)") for constraint in constraints}


def test_the_migrations_lead_to_exactly_the_tables_of_the_schema(sqlite_url, tmp_path):
    Database.open(sqlite_url).close()
    migrated, created = create_engine(sqlite_url), create_engine(f"sqlite:///{tmp_path / 'created.db'}")
    metadata.create_all(created)

    assert definitions(migrated) == definitions(created)

    migrated.dispose()
    created.dispose()


def test_the_migrations_know_every_table_on_every_database(database):
    with database.read() as connection:
        assert set(inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}


def test_what_was_committed_is_there_when_the_database_is_opened_again(database_url):
    first = Database.open(database_url)
    with first.write() as connection:
        insert(connection, "a")
    first.close()

    second = Database.open(database_url)
    assert keys(second) == {"a"}
    second.close()


def test_an_exception_rolls_the_whole_transaction_back(database):
    def write_and_stumble():
        with database.write() as connection:
            insert(connection, "a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_stumble()

    assert keys(database) == set()


def test_sqlite_waits_for_the_disk_and_keeps_to_the_references(sqlite_url):
    database = Database.open(sqlite_url)
    with database.write() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    database.close()

    full = 2
    assert pragmas == {"journal_mode": "wal", "synchronous": full, "foreign_keys": 1, "busy_timeout": 30_000}


def test_a_new_sqlite_file_is_readable_by_its_user_only(sqlite_url, tmp_path):
    database = Database.open(sqlite_url)
    with database.write() as connection:
        insert(connection, "k1")
    files = sorted(tmp_path.iterdir())
    modes = [file.stat().st_mode & 0o777 for file in files]
    database.close()

    assert len(files) == 3
    assert modes == [0o600] * 3


def test_only_a_write_that_says_so_does_not_wait_for_the_disk(database, database_url):
    if not database_url.startswith("sqlite"):
        pytest.skip("PostgreSQL has synchronous_commit, which is local to the transaction")
    modes = []
    for durable in (True, False, True):
        with database.write(durable=durable) as connection:
            modes.append(connection.exec_driver_sql("PRAGMA synchronous").scalar())

    normal, full = 1, 2
    assert modes == [full, normal, full]


def test_a_reader_sees_one_state_while_a_writer_goes_on(database):
    with database.read() as reading:
        before = reading.execute(api_keys.select()).all()
        with database.write() as writing:
            insert(writing, "a")
        assert reading.execute(api_keys.select()).all() == before

    assert keys(database) == {"a"}


def test_many_threads_write_without_losing_or_failing(database):
    def write(thread):
        for number in range(10):
            with database.write() as connection:
                count = connection.execute(text("SELECT count(*) FROM api_keys")).scalar_one()
                insert(connection, f"{thread}-{number}")
                assert count >= number

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(keys(database)) == 80


def test_several_processes_may_open_a_new_database_at_once(sqlite_url):
    code = (
        "import sys, uuid; from sqlalchemy import text; from tuningfork.store.database import Database\n"
        "database = Database.open(sys.argv[1])\n"
        f"with database.write() as connection: connection.execute(text({INSERT!r}), {{'id': uuid.uuid4().hex}})\n"
        "database.close()"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, sqlite_url], stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]

    assert errors == ["", "", ""]
    database = Database.open(sqlite_url)
    assert len(keys(database)) == 3
    database.close()


def test_tables_of_a_newer_version_are_left_alone(database_url):
    database = Database.open(database_url)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()

    with pytest.raises(FailedPrecondition, match="newer version of Tuningfork"):
        Database.open(database_url)


def test_a_taken_value_is_told_from_other_faults(database):
    with database.write() as connection:
        insert(connection, "a")

    def fault(statement):
        with pytest.raises(IntegrityError) as caught, database.write() as connection:
            connection.execute(text(statement), {"id": "a"})
        return caught.value

    assert is_duplicate(fault(INSERT), "api_keys")
    assert not is_duplicate(fault(INSERT), "tuned_models")
    assert not is_duplicate(fault("UPDATE api_keys SET name = NULL"), "api_keys")


def test_naive_times_are_refused_as_our_own_bug(database):
    naive = datetime(2024, 3, 14)  # noqa: DTZ001
    with pytest.raises(Exception, match="is naive"), database.write() as connection:
        connection.execute(tuned_models.update().values(update_time=naive))


@pytest.mark.parametrize(
    "url",
    [
        "tuningfork.db",
        "",
        "nosuch://ada:pa55word@127.0.0.1/tuningfork",
        "mysql+nosuch://ada:pa55word@127.0.0.1/tuningfork",
        "postgresql+pg8000://ada:pa55word@127.0.0.1/tuningfork",
        "postgresql+psycopg://ada:pa55word@127.0.0.1:port/tuningfork",
    ],
)
def test_a_url_that_leads_to_no_database_is_told_without_its_password(url):
    with pytest.raises(FailedPrecondition, match="database_url") as told:
        Database.open(url)

    assert "sqlite:///" in told.value.message
    assert "pa55word" not in told.value.message


def test_what_a_failed_statement_held_is_not_told(sqlite_url):
    database = Database.open(sqlite_url)
    with database.write() as connection:
        insert(connection, "s3cret")
    with pytest.raises(IntegrityError) as told, database.write() as connection:
        insert(connection, "s3cret")

    assert "s3cret" not in str(told.value)
    database.close()


class FullPostgresql(socketserver.BaseRequestHandler):
    """Refuses every connection as PostgreSQL does that has as many as it may (protocol 3.0, message ErrorResponse)."""

    def handle(self):
        while len(head := self.request.recv(8, socket.MSG_WAITALL)) == 8:
            size, code = struct.unpack("!ii", head)
            self.request.recv(size - 8, socket.MSG_WAITALL)
            if code == PROTOCOL_3:
                fields = b"SFATAL\0VFATAL\0C53300\0Msorry, too many clients already\0\0"
                self.request.sendall(b"E" + struct.pack("!i", 4 + len(fields)) + fields)
                return
            # It asks for encryption: no.
            self.request.sendall(b"N")


@pytest.fixture
def full_postgresql():
    pytest.importorskip("psycopg")
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), FullPostgresql) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"postgresql+psycopg://ada:pa55word@127.0.0.1:{server.server_address[1]}/tuningfork"
        server.shutdown()
        thread.join(PATIENCE_SECONDS)


def test_a_postgresql_without_a_connection_left_is_busy(full_postgresql):
    database = Database(create_engine(full_postgresql))

    for use in (database.read, database.write, database.for_requests().write):
        with pytest.raises(Busy, match="has no connection left at the moment"), use():
            pass
    assert "has no connection left" in database.refusal()
    database.close()


def test_a_database_that_has_no_connection_left_is_told_as_such_at_the_start(full_postgresql):
    with pytest.raises(FailedPrecondition, match="is taken by other servers and commands at the moment") as told:
        Database.open(full_postgresql)

    assert "pa55word" not in told.value.message
