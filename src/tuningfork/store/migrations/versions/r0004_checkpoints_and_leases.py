"""Checkpoints, evaluations, projects and locations; columns for a job's progress and for the holder of a running job."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_PROJECT = """
UPDATE tuned_models SET project = COALESCE(
    (SELECT api_keys.project FROM api_keys JOIN tuning_jobs ON tuning_jobs.created_by = api_keys.id
     WHERE tuning_jobs.model_id = tuned_models.id),
    (SELECT api_keys.project FROM api_keys JOIN permissions ON permissions.email = api_keys.email
     WHERE permissions.model_id = tuned_models.id AND permissions.role = 'OWNER'
     ORDER BY api_keys.create_time, api_keys.id LIMIT 1),
    (SELECT 'local' FROM permissions WHERE permissions.model_id = tuned_models.id
     AND permissions.role = 'OWNER' AND permissions.email = 'me@localhost'),
    '')
"""
"""The project of the key that created the model, else of its owner's first key; `local` on a server without keys."""

_PROGRESS = """
UPDATE tuning_jobs SET
    completed_steps = COALESCE((SELECT MAX(step) FROM snapshots WHERE snapshots.job_id = tuning_jobs.id), 0),
    last_loss = (SELECT mean_loss FROM snapshots WHERE snapshots.job_id = tuning_jobs.id ORDER BY step DESC LIMIT 1),
    project = (SELECT project FROM tuned_models WHERE tuned_models.id = tuning_jobs.model_id)
"""

_LAST_STEPS = """
SELECT snapshots.job_id, snapshots.step, snapshots.epoch, snapshots.mean_loss, tuned_models.id AS model_id
FROM snapshots
JOIN tuning_jobs ON tuning_jobs.id = snapshots.job_id AND tuning_jobs.completed_steps = snapshots.step
JOIN tuned_models ON tuned_models.id = tuning_jobs.model_id
WHERE tuned_models.state = 'ACTIVE'
"""


def upgrade() -> None:
    for table in ("tuned_models", "tuning_jobs"):
        op.add_column(table, sa.Column("project", sa.Text(), nullable=False, server_default=""))
        op.add_column(table, sa.Column("location", sa.Text(), nullable=False, server_default="global"))
    op.add_column("tuned_models", sa.Column("default_checkpoint", sa.Integer(), nullable=True))
    op.add_column("tuning_jobs", sa.Column("completed_steps", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("tuning_jobs", sa.Column("last_loss", sa.Double(), nullable=True))
    op.add_column("tuning_jobs", sa.Column("training_options", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("tuning_jobs", sa.Column("held_by", sa.String(length=32), nullable=True))
    op.add_column("tuning_jobs", sa.Column("claim_number", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("tuning_jobs", sa.Column("lease_renewals", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "checkpoints",
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("artifact", sa.Text(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.CheckConstraint("number >= 1 AND step >= 0 AND epoch >= 0", name=op.f("ck_checkpoints_counts")),
        sa.ForeignKeyConstraint(["job_id"], ["tuning_jobs.id"], name=op.f("fk_checkpoints_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_checkpoints")),
    )
    op.create_table(
        "evaluations",
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("mean_loss", sa.Double(), nullable=False),
        sa.Column("targets", sa.BigInteger(), nullable=False),
        sa.Column("right_targets", sa.BigInteger(), nullable=False),
        sa.Column("compute_time", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("step >= 0 AND epoch >= 0", name=op.f("ck_evaluations_counts")),
        sa.CheckConstraint(
            "targets >= 1 AND right_targets BETWEEN 0 AND targets", name=op.f("ck_evaluations_right_targets_of_all")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["tuning_jobs.id"], name=op.f("fk_evaluations_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "step", name=op.f("pk_evaluations")),
    )
    op.execute(_PROJECT)
    op.execute(_PROGRESS)
    _keep_last_weights()


def _keep_last_weights() -> None:
    """Make the weights of every model that can be called the first checkpoint of its job, and the model's default."""
    connection = op.get_bind()
    insert = sa.text(
        "INSERT INTO checkpoints (job_id, number, step, epoch, artifact, metrics) "
        "VALUES (:job_id, 1, :step, :epoch, :artifact, :metrics)"
    ).bindparams(sa.bindparam("metrics", type_=sa.JSON()))
    last_steps = connection.execute(sa.text(_LAST_STEPS)).mappings().all()
    for row in last_steps:
        values = {"job_id": row["job_id"], "step": row["step"], "epoch": row["epoch"]}
        metrics = {"mean_loss": row["mean_loss"]}
        connection.execute(insert, {**values, "artifact": f"adapters/{row['job_id']}", "metrics": metrics})
    connection.execute(
        sa.text(
            "UPDATE tuned_models SET default_checkpoint = 1 WHERE id IN "
            "(SELECT model_id FROM tuning_jobs JOIN checkpoints ON checkpoints.job_id = tuning_jobs.id)"
        )
    )
