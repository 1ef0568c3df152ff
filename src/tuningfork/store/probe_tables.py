"""The tables of probe prompts and of the answers to them.

Texts are JSON, which may have characters that a text column of PostgreSQL refuses, such as U+0000.
"""

from sqlalchemy import JSON, Boolean, CheckConstraint, Column, ForeignKey, Index, Integer, Table

from tuningfork.store.column_types import UtcDateTime
from tuningfork.store.metadata import metadata

# One row for each job that has any.
probe_prompts = Table(
    "probe_prompts",
    metadata,
    Column("job_id", ForeignKey("tuning_jobs.id", ondelete="CASCADE"), primary_key=True),
    # A list of texts.
    Column("prompts", JSON, nullable=False),
    # Whether no further answers will come.
    Column("closed", Boolean, nullable=False),
    # For the loop that asks: the index has only jobs that are not closed, which are few.
    Index(
        "ix_probe_prompts_open",
        "job_id",
        sqlite_where=Column("closed", Boolean).is_(False),
        postgresql_where=Column("closed", Boolean).is_(False),
    ),
)

probe_answers = Table(
    "probe_answers",
    metadata,
    Column("job_id", ForeignKey("probe_prompts.job_id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("epoch", Integer, nullable=False),
    # Its text, whether it is cut, and what kept it from being given.
    Column("content", JSON, nullable=False),
    Column("output_tokens", Integer, nullable=False),
    Column("answer_time", UtcDateTime, nullable=False),
    CheckConstraint("number >= 1 AND step >= 0 AND epoch >= 0 AND output_tokens >= 0", name="counts"),
)
