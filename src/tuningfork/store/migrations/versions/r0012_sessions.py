"""Sessions, which browsers keep instead of an API key."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("key_id", sa.String(length=32)),
        sa.Column("scopes", sa.Text()),
        sa.Column("credential_hash", sa.String(length=64), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expire_time", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "key_id IS NOT NULL OR scopes IS NOT NULL", name=op.f("ck_sessions_scopes_unless_of_key")
        ),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name=op.f("fk_sessions_key_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("credential_hash", name=op.f("uq_sessions_credential_hash")),
    )
    for column in ("email", "key_id", "expire_time"):
        op.create_index(op.f(f"ix_sessions_{column}"), "sessions", [column])
