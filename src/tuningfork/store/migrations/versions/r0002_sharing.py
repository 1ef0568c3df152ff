"""Sharing: groups, readers by project, tuning on top of tuned models, the key that signs access tokens."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("tuned_models", sa.Column("source", sa.String(length=63), nullable=True))
    op.add_column("tuning_jobs", sa.Column("created_by", sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "group_members",
        sa.Column("group_email", sa.Text(), nullable=False),
        sa.Column("member_email", sa.Text(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("group_email", "member_email", name=op.f("pk_group_members")),
    )
    op.create_index(op.f("ix_group_members_member_email"), "group_members", ["member_email"])
    op.create_table(
        "reader_projects",
        sa.Column("model_id", sa.String(length=63), nullable=False),
        sa.Column("project_number", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id"], ["tuned_models.id"], name=op.f("fk_reader_projects_model_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("model_id", "project_number", name=op.f("pk_reader_projects")),
    )
    op.create_index(op.f("ix_reader_projects_project_number"), "reader_projects", ["project_number"])
    op.create_table(
        "signing_keys",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signing_keys")),
    )
    _spread_reader_projects()


def _spread_reader_projects() -> None:
    """Copy the project numbers that each model has as a list into rows, by which models can be found."""
    connection = op.get_bind()
    models = sa.table("tuned_models", sa.column("id"), sa.column("reader_project_numbers"))
    projects = sa.table("reader_projects", sa.column("model_id"), sa.column("project_number"))
    for model_id, numbers in connection.execute(sa.select(models)).all():
        for number in set(json.loads(numbers) if isinstance(numbers, str) else numbers):
            connection.execute(projects.insert().values(model_id=model_id, project_number=number))
