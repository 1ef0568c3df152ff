"""Numbers as names, versions, labels, endpoints of checkpoints, and jobs whose examples are still to be read.

The allowed states of jobs are constraints of tables. SQLite changes no constraint of a table that exists, so there
three tables are written anew. Foreign keys are not enforced meanwhile (`Database._migrate`); else dropping the former
table would delete the rows that refer to it.
"""

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_STATES = "state IN ({}'queued', 'running', 'succeeded', 'failed', 'cancelled')"
_NEW_STATE = "'preparing', "
_TRANSITIONS = (
    "from_state || '>' || to_state IN ({}'queued>running', 'queued>failed', 'queued>cancelled', "
    "'running>queued', 'running>succeeded', 'running>failed', 'running>cancelled')"
)
_NEW_TRANSITIONS = "'preparing>queued', 'preparing>failed', 'preparing>cancelled', "
_MODELS = """
SELECT tuned_models.id, tuning_jobs.id AS job
FROM tuned_models LEFT JOIN tuning_jobs ON tuning_jobs.model_id = tuned_models.id
"""


def upgrade() -> None:
    op.add_column("tuned_models", sa.Column("number", sa.BigInteger()))
    op.add_column("tuned_models", sa.Column("registry_model", sa.BigInteger()))
    op.add_column("tuned_models", sa.Column("version", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("tuned_models", sa.Column("version_aliases", sa.JSON(), nullable=False, server_default='["default"]'))
    op.add_column("tuned_models", sa.Column("labels", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("tuning_jobs", sa.Column("request_details", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("tuning_jobs", sa.Column("data_statistics", sa.JSON()))
    op.add_column("checkpoints", sa.Column("endpoint", sa.BigInteger()))
    op.add_column("checkpoints", sa.Column("deployed", sa.Boolean(), nullable=False, server_default=sa.true()))
    _number()
    if op.get_bind().dialect.name == "sqlite":
        _rewrite("tuned_models", *((f"{name} BIGINT", f"{name} BIGINT NOT NULL") for name in _NUMBERS))
        _rewrite("tuning_jobs", (_STATES.format(""), _STATES.format(_NEW_STATE)))
        _rewrite("job_events", (_TRANSITIONS.format(""), _TRANSITIONS.format(_NEW_TRANSITIONS)))
    else:
        for name in _NUMBERS:
            op.alter_column("tuned_models", name, nullable=False)
        _change_constraint("tuning_jobs", "ck_tuning_jobs_state", _STATES.format(_NEW_STATE))
        _change_constraint("job_events", "ck_job_events_transition", _TRANSITIONS.format(_NEW_TRANSITIONS))
    op.create_index("uq_tuned_models_number", "tuned_models", ["number"], unique=True)
    op.create_index("uq_tuned_models_version", "tuned_models", ["registry_model", "version"], unique=True)
    op.create_index("uq_checkpoints_endpoint", "checkpoints", ["endpoint"], unique=True)
    op.create_index(
        "ix_tuning_jobs_preparing",
        "tuning_jobs",
        ["create_time", "id"],
        sqlite_where=sa.text("state = 'preparing'"),
        postgresql_where=sa.text("state = 'preparing'"),
    )


_NUMBERS = ("number", "registry_model")


def _number() -> None:
    """Give models and checkpoints the numbers that this version gives new ones (`domain.ids.number_of`)."""
    connection = op.get_bind()
    models = connection.execute(sa.text(_MODELS)).all()
    if models:
        change = sa.text("UPDATE tuned_models SET number = :number, registry_model = :number WHERE id = :model")
        connection.execute(change, [{"number": _number_of(each.job or each.id), "model": each.id} for each in models])
    kept = connection.execute(sa.text("SELECT job_id, number FROM checkpoints")).all()
    if kept:
        change = sa.text("UPDATE checkpoints SET endpoint = :endpoint WHERE job_id = :job AND number = :number")
        rows = [
            {"endpoint": _number_of("endpoint", each.job_id, str(each.number)), "job": each.job_id, "number": each.number}
            for each in kept
        ]
        connection.execute(change, rows)


def _number_of(*texts: str) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(texts).encode()).digest()[:8], "big") >> 2 or 1


def _change_constraint(table: str, name: str, condition: str) -> None:
    op.drop_constraint(op.f(name), table, type_="check")
    op.create_check_constraint(op.f(name), table, condition)


def _rewrite(table: str, *changes: tuple[str, str]) -> None:
    """Write a table of SQLite anew with another definition (sqlite.org/lang_altertable.html, section 7).

    Args:
        table: its name.
        changes: texts in its definition, and what replaces them.

    """
    connection = op.get_bind()
    schema = sa.text("SELECT type, sql FROM sqlite_master WHERE tbl_name = :table AND sql IS NOT NULL")
    found = connection.execute(schema, {"table": table}).all()
    [definition] = [each.sql for each in found if each.type == "table"]
    for former, now in changes:
        if definition.count(former) != 1:
            raise ValueError(f"the definition of the table {table} is not that of revision 0008: {definition}")
        definition = definition.replace(former, now)
    _, opened, columns = definition.partition("(")
    aside = f"{table}_of_{revision}"
    connection.exec_driver_sql(f'CREATE TABLE "{aside}" {opened}{columns}')
    connection.exec_driver_sql(f'INSERT INTO "{aside}" SELECT * FROM "{table}"')
    connection.exec_driver_sql(f'DROP TABLE "{table}"')
    connection.exec_driver_sql(f'ALTER TABLE "{aside}" RENAME TO "{table}"')
    for each in found:
        if each.type == "index":
            connection.exec_driver_sql(each.sql)
