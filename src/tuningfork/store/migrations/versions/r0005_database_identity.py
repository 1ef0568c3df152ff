"""The id of the database, by which data directories know it, and the jobs whose files may be removed."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "database_identity",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.CheckConstraint("number = 1", name=op.f("ck_database_identity_one_row")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_database_identity")),
    )
    op.create_table(
        "deleted_jobs",
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("delete_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_deleted_jobs")),
    )
