"""What older databases hold is brought along."""

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

from tuningfork.domain.permission import Email, Principal
from tuningfork.store import tuned_models
from tuningfork.store.database import Database
from tuningfork.store.tuned_models import Search

MODEL = "INSERT INTO tuned_models VALUES (:id, 'models/x', '', '', '', 'ACTIVE', :time, :time, 1, 1, NULL, '[7]', NULL)"


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'old.db'}"


def migrate(url, revision, *statements):
    """Bring a new database to this revision, and write into it."""
    engine = create_engine(url)
    config = Config()
    config.set_main_option("script_location", "tuningfork.store:migrations")
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for statement, values in statements:
            connection.execute(text(statement), values)
    engine.dispose()


def test_models_of_an_older_database_are_listed_in_their_order(url):
    times = {"b": "2024-03-14 15:09:04.000000", "a": "2024-03-14 15:09:05.000000", "c": "2024-03-14 15:09:06.000000"}
    grants = "INSERT INTO permissions VALUES (:id, 'p', 'USER', 'ada@example.com', 'OWNER')"
    projects = "INSERT INTO reader_projects VALUES (:id, 7)"
    migrate(
        url,
        "0002",
        *((MODEL, {"id": name, "time": made}) for name, made in times.items()),
        *((grants, {"id": name}) for name in "ab"),
        *((projects, {"id": name}) for name in "bc"),
    )

    database = Database.open(url)
    with database.read() as connection:
        ada = Principal(email=Email("ada@example.com"), project="7")
        pages = [tuned_models.search(connection, Search(principal=ada, limit=limit)) for limit in (1, 9)]
    database.close()

    assert [[model.id for model in page] for page in pages] == [["b"], ["b", "a", "c"]]
