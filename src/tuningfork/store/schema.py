"""The tables. States and their transitions are constraints here too, so that no writer can break them.

    tuned_models 1──1 tuning_jobs 1──n snapshots
         │                 └──────1──n job_events
         ├──1──n permissions                            api_keys   signing_keys
         └──1──n reader_projects                        group_members

Everything below a model goes when the model goes.
"""

from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

from tuningfork.domain.permission import GranteeType, Role
from tuningfork.domain.tuned_model import ModelState
from tuningfork.domain.tuning_job import TRANSITIONS, JobState

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time in UTC with microseconds. SQLite forgets the zone, so it is taken off and put back here."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC; a naive time is our own bug."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"times are stored aware; {value!r} is naive")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Say that it is UTC."""
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Id(TypeDecorator[str]):
    """A name that callers send to be looked up. PostgreSQL refuses even to look for some texts (U+0000 in them); here
    they mean "", which names nothing, so that what cannot exist is simply not found.
    """

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Pass what can be an id; all of them are printable."""
        return value if value is None or value.isprintable() else ""


def _one_of(column: str, kind: type[StrEnum]) -> CheckConstraint:
    members = ", ".join(f"'{member.value}'" for member in kind)
    return CheckConstraint(f"{column} IN ({members})", name=column)


_FINAL = "({})".format(", ".join(f"'{state.value}'" for state in JobState if state.is_final))
_UNSUCCESSFUL = "('failed', 'cancelled')"
_ALLOWED_TRANSITIONS = ", ".join(
    f"'{source.value}>{target.value}'"
    for source, targets in TRANSITIONS.items()
    for target in sorted(targets, key=list(JobState).index)
)

tuned_models = Table(
    "tuned_models",
    metadata,
    Column("id", Id(63), primary_key=True),
    Column("base_model", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("description", Text, nullable=False),
    # Display name and description, folded: databases do not agree on the lower case of anything beyond ASCII.
    Column("search_text", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("update_time", UtcDateTime, nullable=False),
    Column("temperature", Double, nullable=False),
    Column("top_p", Double, nullable=False),
    Column("top_k", Integer),
    Column("reader_project_numbers", JSON, nullable=False),
    # No foreign key: a model stays what it was made of when its source is deleted.
    Column("source", String(63)),
    _one_of("state", ModelState),
    # Lists are in this order, and a page begins after a place in it.
    Index("ix_tuned_models_create_time_id", "create_time", "id"),
)

tuning_jobs = Table(
    "tuning_jobs",
    metadata,
    Column("id", Id(32), primary_key=True),
    Column(
        "model_id",
        ForeignKey("tuned_models.id", ondelete="CASCADE"),
        nullable=False,
        unique=True,
    ),
    Column("base_model", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("attempts", Integer, nullable=False),
    # The highest step ever reported. A resumed job repeats steps; only what goes beyond this one is progress.
    Column("furthest_step", Integer, nullable=False),
    Column("epoch_count", Integer, nullable=False),
    Column("batch_size", Integer, nullable=False),
    Column("learning_rate", Double, nullable=False),
    Column("learning_rate_multiplier", Double),
    Column("adapter_rank", Integer, nullable=False),
    Column("adapter_alpha", Double, nullable=False),
    Column("example_count", Integer, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("start_time", UtcDateTime),
    Column("complete_time", UtcDateTime),
    Column("error_code", Integer),
    Column("error_message", Text),
    Column("created_by", Text, nullable=False, server_default=""),
    _one_of("state", JobState),
    CheckConstraint(f"(state IN {_FINAL}) = (complete_time IS NOT NULL)", name="final_has_complete_time"),
    CheckConstraint(f"(state IN {_UNSUCCESSFUL}) = (error_code IS NOT NULL)", name="unsuccessful_has_error"),
    CheckConstraint("(error_code IS NULL) = (error_message IS NULL)", name="error_has_message"),
    CheckConstraint("state NOT IN ('running', 'succeeded') OR start_time IS NOT NULL", name="started_has_start_time"),
    CheckConstraint("attempts >= 0 AND furthest_step >= 0", name="counts"),
    CheckConstraint("epoch_count >= 1 AND batch_size >= 1 AND example_count >= 1", name="sizes"),
    # Claiming looks at the waiting jobs only, however many are done: the index holds no others.
    Index(
        "ix_tuning_jobs_queue",
        "create_time",
        "id",
        sqlite_where=Column("state") == "queued",
        postgresql_where=Column("state") == "queued",
    ),
    # Starting and stopping look at the running jobs only; there are never many.
    Index(
        "ix_tuning_jobs_running",
        "id",
        sqlite_where=Column("state") == "running",
        postgresql_where=Column("state") == "running",
    ),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("job_id", ForeignKey("tuning_jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("mean_loss", Double, nullable=False),
    Column("compute_time", UtcDateTime, nullable=False),
    CheckConstraint("step >= 1 AND epoch >= 0", name="counts"),
)

job_events = Table(
    "job_events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", ForeignKey("tuning_jobs.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("from_state", String(16), nullable=False),
    Column("to_state", String(16), nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Column("reason", Text, nullable=False),
    # The transition table of domain/tuning_job.py. Each change of state writes its event in the same transaction,
    # so a change that the table does not know is refused as a whole.
    CheckConstraint(f"from_state || '>' || to_state IN ({_ALLOWED_TRANSITIONS})", name="transition"),
)

permissions = Table(
    "permissions",
    metadata,
    Column("model_id", ForeignKey("tuned_models.id", ondelete="CASCADE"), primary_key=True),
    Column("id", Id(32), primary_key=True),
    Column("grantee_type", String(16), nullable=False),
    Column("email", Text),
    Column("role", String(16), nullable=False),
    _one_of("grantee_type", GranteeType),
    _one_of("role", Role),
    CheckConstraint("(grantee_type = 'EVERYONE') = (email IS NULL)", name="email_unless_everyone"),
    # One role a person and model. EVERYONE has no address, and NULLs never collide: hence a second index for it.
    Index("uq_permissions_grantee", "model_id", "email", unique=True),
    Index(
        "uq_permissions_everyone",
        "model_id",
        unique=True,
        sqlite_where=Column("grantee_type") == "EVERYONE",
        postgresql_where=Column("grantee_type") == "EVERYONE",
    ),
    # A model has one owner; ownership moves, it is not shared.
    Index(
        "uq_permissions_owner",
        "model_id",
        unique=True,
        sqlite_where=Column("role") == "OWNER",
        postgresql_where=Column("role") == "OWNER",
    ),
    # When the model was made, once more: lists are in this order.
    Column("model_create_time", UtcDateTime),
    # "What may this person see?" begins with the address, and goes on in the order of lists.
    Index("ix_permissions_order", "email", "model_create_time", "model_id"),
)

# The numbers of a model's `reader_project_numbers` once more, by which models are found.
reader_projects = Table(
    "reader_projects",
    metadata,
    Column("model_id", ForeignKey("tuned_models.id", ondelete="CASCADE"), primary_key=True),
    Column("project_number", BigInteger, primary_key=True, autoincrement=False),
    Column("model_create_time", UtcDateTime),
    Index("ix_reader_projects_order", "project_number", "model_create_time", "model_id"),
)

group_members = Table(
    "group_members",
    metadata,
    Column("group_email", Text, primary_key=True),
    Column("member_email", Text, primary_key=True, index=True),
    Column("create_time", UtcDateTime, nullable=False),
)

# What signs access tokens. Every server on one database must know it, or a token would hold on one of them only.
signing_keys = Table(
    "signing_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("secret", LargeBinary, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Id(32), primary_key=True),
    Column("name", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("prefix", String(16), nullable=False),
    Column("key_hash", String(64), nullable=False, unique=True),
    Column("create_time", UtcDateTime, nullable=False),
    Column("revoke_time", UtcDateTime),
)
