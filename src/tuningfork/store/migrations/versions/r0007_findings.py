"""What the losses of ended jobs gave reason to warn of."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("tuning_jobs", sa.Column("findings", sa.Text()))
