"""Evaluation runs: models that answer the same held-out examples, the examples and the answers."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.create_table(
        "evaluation_runs",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("request_id", sa.String(length=64)),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("stop_requested", sa.Boolean(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("start_time", sa.DateTime(timezone=True)),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("complete_time", sa.DateTime(timezone=True)),
        sa.Column("example_count", sa.Integer(), nullable=False),
        sa.Column("about", sa.JSON(), nullable=False),
        sa.Column("summary", sa.JSON()),
        sa.Column("held_by", sa.String(length=32)),
        sa.Column("claim_number", sa.Integer(), nullable=False),
        sa.Column("lease_renewals", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "state IN ('QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'STOPPED')",
            name=op.f("ck_evaluation_runs_state"),
        ),
        sa.CheckConstraint(
            "(state IN ('SUCCEEDED', 'FAILED', 'STOPPED')) = (complete_time IS NOT NULL)",
            name=op.f("ck_evaluation_runs_final_has_complete_time"),
        ),
        sa.CheckConstraint("example_count >= 1", name=op.f("ck_evaluation_runs_example_count")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluation_runs")),
    )
    op.create_index("ix_evaluation_runs_order", "evaluation_runs", ["owner", "create_time", "id"])
    op.create_index("ix_evaluation_runs_state", "evaluation_runs", ["state", "create_time"])
    op.create_index("uq_evaluation_runs_request", "evaluation_runs", ["owner", "request_id"], unique=True)
    op.create_table(
        "evaluation_rows",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("leaked", sa.JSON(), nullable=False),
        sa.CheckConstraint("number >= 1 AND turn >= 0", name=op.f("ck_evaluation_rows_counts")),
        sa.ForeignKeyConstraint(
            ["run_id"], ["evaluation_runs.id"], name=op.f("fk_evaluation_rows_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "number", name=op.f("pk_evaluation_rows")),
    )
    op.create_table(
        "evaluation_answers",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("model", sa.Integer(), nullable=False),
        sa.Column("scores", sa.JSON(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.CheckConstraint("number >= 1 AND model >= 0", name=op.f("ck_evaluation_answers_counts")),
        sa.ForeignKeyConstraint(
            ["run_id"], ["evaluation_runs.id"], name=op.f("fk_evaluation_answers_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "number", "model", name=op.f("pk_evaluation_answers")),
    )
