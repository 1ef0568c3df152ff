"""How many tokens a step of a job was to predict, and how many of them it predicted."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("snapshots", sa.Column("targets", sa.BigInteger()))
    op.add_column("snapshots", sa.Column("right_targets", sa.BigInteger()))
