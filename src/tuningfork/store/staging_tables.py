"""The tables of what comes before a tuning job: datasets that are being prepared, and requests to create a job."""

from sqlalchemy import JSON, BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, Table, Text

from tuningfork.store.column_types import Id, UtcDateTime
from tuningfork.store.metadata import metadata

# Data that a person looks at and corrects. The rows are files; see store/staged_rows.py.
staged_datasets = Table(
    "staged_datasets",
    metadata,
    Column("id", Id(32), primary_key=True),
    Column("owner", Text, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("update_time", UtcDateTime, nullable=False),
    Column("use_time", UtcDateTime, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("row_count", Integer, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    # Names, columns, edits and what was read of the file; see store/staged_datasets.py. No query uses its content.
    Column("about", JSON, nullable=False),
    # JSON of the owner's program; "": none.
    Column("draft", Text, nullable=False),
    CheckConstraint("revision >= 0 AND row_count >= 0 AND size_bytes >= 0", name="counts"),
    Index("ix_staged_datasets_order", "owner", "create_time", "id"),
    Index("ix_staged_datasets_use_time", "use_time"),
)

# Ids that callers chose for their requests to create a tuned model, so that the same request makes one model only.
creation_requests = Table(
    "creation_requests",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("request_id", Id(64), primary_key=True),
    Column("model_id", ForeignKey("tuned_models.id", ondelete="CASCADE"), nullable=False, index=True),
)
