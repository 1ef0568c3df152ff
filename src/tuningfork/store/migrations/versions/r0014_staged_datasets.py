"""Staged datasets, and requests to create a tuned model that are made once whatever how often they are sent."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_table(
        "staged_datasets",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("use_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("about", sa.JSON(), nullable=False),
        sa.Column("draft", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "revision >= 0 AND row_count >= 0 AND size_bytes >= 0", name=op.f("ck_staged_datasets_counts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staged_datasets")),
    )
    op.create_index(op.f("ix_staged_datasets_order"), "staged_datasets", ["owner", "create_time", "id"])
    op.create_index(op.f("ix_staged_datasets_use_time"), "staged_datasets", ["use_time"])
    op.create_table(
        "creation_requests",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("model_id", sa.String(length=63), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"], ["tuned_models.id"], name=op.f("fk_creation_requests_model_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("owner", "request_id", name=op.f("pk_creation_requests")),
    )
    op.create_index(op.f("ix_creation_requests_model_id"), "creation_requests", ["model_id"])
