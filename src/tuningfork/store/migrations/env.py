"""Runs the migrations on the connection, and in the transaction, of `database.py`."""

from alembic import context

from tuningfork.store import schema  # noqa: F401 - `metadata` gets its tables there
from tuningfork.store.metadata import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
