"""The tables of evaluation runs: their examples, and what the models have answered.

Texts are JSON, which may have characters that a text column of PostgreSQL refuses, such as U+0000.
"""

from sqlalchemy import JSON, Boolean, CheckConstraint, Column, ForeignKey, Index, Integer, String, Table, Text

from tuningfork.domain.evaluation_run import RunState
from tuningfork.store.column_types import Id, UtcDateTime
from tuningfork.store.metadata import metadata

_STATES = ", ".join(f"'{state.value}'" for state in RunState)
_FINAL = ", ".join(f"'{state.value}'" for state in RunState if state.is_final)

evaluation_runs = Table(
    "evaluation_runs",
    metadata,
    Column("id", Id(32), primary_key=True),
    Column("owner", Text, nullable=False),
    # The id that a caller chose for the request; NULL: none.
    Column("request_id", Id(64)),
    Column("state", String(16), nullable=False),
    Column("stop_requested", Boolean, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("start_time", UtcDateTime),
    Column("update_time", UtcDateTime, nullable=False),
    Column("complete_time", UtcDateTime),
    Column("example_count", Integer, nullable=False),
    # Names, models, measures, settings and the error; see store/evaluation_runs.py. No query uses its content.
    Column("about", JSON, nullable=False),
    # Mean scores and intervals; NULL: not computed yet.
    Column("summary", JSON(none_as_null=True)),
    # As in `tuning_jobs`; see store/leases.py.
    Column("held_by", String(32)),
    Column("claim_number", Integer, nullable=False),
    Column("lease_renewals", Integer, nullable=False),
    CheckConstraint(f"state IN ({_STATES})", name="state"),
    CheckConstraint(f"(state IN ({_FINAL})) = (complete_time IS NOT NULL)", name="final_has_complete_time"),
    CheckConstraint("example_count >= 1", name="example_count"),
    Index("ix_evaluation_runs_order", "owner", "create_time", "id"),
    Index("ix_evaluation_runs_state", "state", "create_time"),
    Index("uq_evaluation_runs_request", "owner", "request_id", unique=True),
)

evaluation_rows = Table(
    "evaluation_rows",
    metadata,
    Column("run_id", ForeignKey("evaluation_runs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    # When it is asked: the examples are asked in an order of chance, so that a part of them is a fair sample.
    Column("turn", Integer, nullable=False),
    Column("content", JSON, nullable=False),
    # The indexes of the models that were trained on it.
    Column("leaked", JSON, nullable=False),
    CheckConstraint("number >= 1 AND turn >= 0", name="counts"),
)

evaluation_answers = Table(
    "evaluation_answers",
    metadata,
    Column("run_id", ForeignKey("evaluation_runs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("model", Integer, primary_key=True),
    Column("scores", JSON, nullable=False),
    Column("content", JSON, nullable=False),
    CheckConstraint("number >= 1 AND model >= 0", name="counts"),
)
