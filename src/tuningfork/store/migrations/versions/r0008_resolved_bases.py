"""Which base model the name in a request meant, since a name may come to mean another one."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    for table in ("tuned_models", "tuning_jobs"):
        op.add_column(table, sa.Column("resolved_base", sa.Text()))
