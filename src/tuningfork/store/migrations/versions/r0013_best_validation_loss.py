"""The lowest validation loss of each job, so that lists are sorted by it."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("tuning_jobs", sa.Column("best_validation_loss", sa.Double()))
    op.execute(
        "UPDATE tuning_jobs SET best_validation_loss = "
        "(SELECT MIN(mean_loss) FROM evaluations WHERE evaluations.job_id = tuning_jobs.id)"
    )
