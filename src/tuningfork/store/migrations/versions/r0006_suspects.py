"""Jobs whose trainer died while it was training them."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "suspects",
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("death", sa.String(length=64), nullable=False),
        sa.Column("shared_deaths", sa.Integer(), nullable=False),
        sa.Column("alone_until_step", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("shared_deaths >= 0 AND alone_until_step >= 1", name=op.f("ck_suspects_counts")),
        sa.ForeignKeyConstraint(["job_id"], ["tuning_jobs.id"], name=op.f("fk_suspects_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_suspects")),
    )
