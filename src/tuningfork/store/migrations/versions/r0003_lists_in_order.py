"""Lists in their order: who may see a model is found beside when it was made, so that a page reads no more than itself."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for table in ("permissions", "reader_projects"):
        op.add_column(table, sa.Column("model_create_time", sa.DateTime(timezone=True), nullable=True))
        op.execute(
            f"UPDATE {table} SET model_create_time = "
            f"(SELECT create_time FROM tuned_models WHERE tuned_models.id = {table}.model_id)"
        )
    op.create_index("ix_permissions_order", "permissions", ["email", "model_create_time", "model_id"])
    op.create_index(
        "ix_reader_projects_order", "reader_projects", ["project_number", "model_create_time", "model_id"]
    )
    # These indexes are not needed any more: the new ones begin with the same columns.
    op.drop_index("ix_permissions_email", "permissions")
    op.drop_index("ix_reader_projects_project_number", "reader_projects")
