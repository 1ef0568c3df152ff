"""The first tables: models, jobs, snapshots, events, permissions and API keys."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoke_time", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_keys_key_hash")),
    )
    op.create_table(
        "tuned_models",
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("base_model", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("search_text", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("update_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("temperature", sa.Double(), nullable=False),
        sa.Column("top_p", sa.Double(), nullable=False),
        sa.Column("top_k", sa.Integer(), nullable=True),
        sa.Column("reader_project_numbers", sa.JSON(), nullable=False),
        sa.CheckConstraint("state IN ('CREATING', 'ACTIVE', 'FAILED')", name=op.f("ck_tuned_models_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tuned_models")),
    )
    op.create_index("ix_tuned_models_create_time_id", "tuned_models", ["create_time", "id"], unique=False)
    op.create_table(
        "permissions",
        sa.Column("model_id", sa.String(length=63), nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("grantee_type", sa.String(length=16), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.CheckConstraint(
            "(grantee_type = 'EVERYONE') = (email IS NULL)", name=op.f("ck_permissions_email_unless_everyone")
        ),
        sa.CheckConstraint("grantee_type IN ('USER', 'GROUP', 'EVERYONE')", name=op.f("ck_permissions_grantee_type")),
        sa.CheckConstraint("role IN ('READER', 'WRITER', 'OWNER')", name=op.f("ck_permissions_role")),
        sa.ForeignKeyConstraint(
            ["model_id"], ["tuned_models.id"], name=op.f("fk_permissions_model_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("model_id", "id", name=op.f("pk_permissions")),
    )
    op.create_index("ix_permissions_email", "permissions", ["email", "role"], unique=False)
    op.create_index(
        "uq_permissions_everyone",
        "permissions",
        ["model_id"],
        unique=True,
        sqlite_where=sa.text("grantee_type = 'EVERYONE'"),
        postgresql_where=sa.text("grantee_type = 'EVERYONE'"),
    )
    op.create_index("uq_permissions_grantee", "permissions", ["model_id", "email"], unique=True)
    op.create_index(
        "uq_permissions_owner",
        "permissions",
        ["model_id"],
        unique=True,
        sqlite_where=sa.text("role = 'OWNER'"),
        postgresql_where=sa.text("role = 'OWNER'"),
    )
    op.create_table(
        "tuning_jobs",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("model_id", sa.String(length=63), nullable=False),
        sa.Column("base_model", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("furthest_step", sa.Integer(), nullable=False),
        sa.Column("epoch_count", sa.Integer(), nullable=False),
        sa.Column("batch_size", sa.Integer(), nullable=False),
        sa.Column("learning_rate", sa.Double(), nullable=False),
        sa.Column("learning_rate_multiplier", sa.Double(), nullable=True),
        sa.Column("adapter_rank", sa.Integer(), nullable=False),
        sa.Column("adapter_alpha", sa.Double(), nullable=False),
        sa.Column("example_count", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("start_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("complete_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_code", sa.Integer(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(state IN ('failed', 'cancelled')) = (error_code IS NOT NULL)",
            name=op.f("ck_tuning_jobs_unsuccessful_has_error"),
        ),
        sa.CheckConstraint(
            "(state IN ('succeeded', 'failed', 'cancelled')) = (complete_time IS NOT NULL)",
            name=op.f("ck_tuning_jobs_final_has_complete_time"),
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name=op.f("ck_tuning_jobs_state")
        ),
        sa.CheckConstraint(
            "state NOT IN ('running', 'succeeded') OR start_time IS NOT NULL",
            name=op.f("ck_tuning_jobs_started_has_start_time"),
        ),
        sa.CheckConstraint(
            "(error_code IS NULL) = (error_message IS NULL)", name=op.f("ck_tuning_jobs_error_has_message")
        ),
        sa.CheckConstraint("attempts >= 0 AND furthest_step >= 0", name=op.f("ck_tuning_jobs_counts")),
        sa.CheckConstraint(
            "epoch_count >= 1 AND batch_size >= 1 AND example_count >= 1", name=op.f("ck_tuning_jobs_sizes")
        ),
        sa.ForeignKeyConstraint(
            ["model_id"], ["tuned_models.id"], name=op.f("fk_tuning_jobs_model_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tuning_jobs")),
        sa.UniqueConstraint("model_id", name=op.f("uq_tuning_jobs_model_id")),
    )
    op.create_index(
        "ix_tuning_jobs_queue",
        "tuning_jobs",
        ["create_time", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "ix_tuning_jobs_running",
        "tuning_jobs",
        ["id"],
        unique=False,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_table(
        "job_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("from_state", sa.String(length=16), nullable=False),
        sa.Column("to_state", sa.String(length=16), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "from_state || '>' || to_state IN ('queued>running', 'queued>failed', 'queued>cancelled', 'running>queued', 'running>succeeded', 'running>failed', 'running>cancelled')",
            name=op.f("ck_job_events_transition"),
        ),
        sa.ForeignKeyConstraint(["job_id"], ["tuning_jobs.id"], name=op.f("fk_job_events_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_events")),
    )
    op.create_index(op.f("ix_job_events_job_id"), "job_events", ["job_id"], unique=False)
    op.create_table(
        "snapshots",
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("mean_loss", sa.Double(), nullable=False),
        sa.Column("compute_time", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("step >= 1 AND epoch >= 0", name=op.f("ck_snapshots_counts")),
        sa.ForeignKeyConstraint(["job_id"], ["tuning_jobs.id"], name=op.f("fk_snapshots_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "step", name=op.f("pk_snapshots")),
    )


def downgrade() -> None:
    for table in ("snapshots", "job_events", "tuning_jobs", "permissions", "tuned_models", "api_keys"):
        op.drop_table(table)
