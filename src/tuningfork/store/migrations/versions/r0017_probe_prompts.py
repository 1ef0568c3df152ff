"""Probe prompts of tuning jobs, and the answers to them."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.create_table(
        "probe_prompts",
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("prompts", sa.JSON(), nullable=False),
        sa.Column("closed", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["tuning_jobs.id"], name=op.f("fk_probe_prompts_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_probe_prompts")),
    )
    is_open = sa.column("closed", sa.Boolean()).is_(False)
    op.create_index(
        "ix_probe_prompts_open", "probe_prompts", ["job_id"], sqlite_where=is_open, postgresql_where=is_open
    )
    op.create_table(
        "probe_answers",
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("output_tokens", sa.Integer(), nullable=False),
        sa.Column("answer_time", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "number >= 1 AND step >= 0 AND epoch >= 0 AND output_tokens >= 0", name=op.f("ck_probe_answers_counts")
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["probe_prompts.job_id"], name=op.f("fk_probe_answers_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "number", "step", name=op.f("pk_probe_answers")),
    )
