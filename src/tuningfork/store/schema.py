"""The tables. States and their transitions are also constraints of the database.

    tuned_models 1──1 tuning_jobs 1──n snapshots
         │                 ├──────1──n checkpoints
         │                 ├──────1──n job_events
         │                 ├──────1──0..1 probe_prompts 1──n probe_answers
         │                 └──────1──0..1 suspects
         ├──1──n permissions           api_keys 1──n refresh_tokens      signing_keys
         ├──1──n reader_projects              ├──1──n service_accounts   group_members
         └──1──n creation_requests            └──1──n sessions           staged_datasets
         database_identity   deleted_jobs     evaluation_runs 1──n evaluation_rows, evaluation_answers

If a model is deleted, all rows below it are deleted too. The tables of credentials are in `credential_tables`.
"""

import json
from collections.abc import Collection
from enum import StrEnum

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    and_,
    or_,
    true,
)

from tuningfork.domain.permission import GranteeType, Role
from tuningfork.domain.tuned_model import DEFAULT_LOCATION, DEFAULT_VERSION, ModelState
from tuningfork.domain.tuning_job import TRANSITIONS, JobState
from tuningfork.store import credential_tables as _credential_tables  # noqa: F401 - `metadata` has these tables too
from tuningfork.store import evaluation_tables as _evaluation_tables  # noqa: F401 - and these
from tuningfork.store import probe_tables as _probe_tables  # noqa: F401 - and these
from tuningfork.store import staging_tables as _staging_tables  # noqa: F401 - and these
from tuningfork.store.column_types import Id, UtcDateTime
from tuningfork.store.metadata import metadata as metadata  # noqa: PLC0414 - for those who need all tables


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
    # Display name and description, case-folded here, since databases differ in the lower case of non-ASCII characters.
    Column("search_text", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("update_time", UtcDateTime, nullable=False),
    Column("temperature", Double, nullable=False),
    Column("top_p", Double, nullable=False),
    Column("top_k", Integer),
    Column("reader_project_numbers", JSON, nullable=False),
    # No foreign key: the model keeps the name of its source after the source is deleted.
    Column("source", String(63)),
    Column("project", Text, nullable=False, server_default=""),
    Column("location", Text, nullable=False, server_default=DEFAULT_LOCATION),
    # The number of one of its job's checkpoints. There is no foreign key, since jobs refer to their models already.
    Column("default_checkpoint", Integer),
    # NULL: written by a version without this column, and no server has been started since that has the base.
    Column("resolved_base", Text),
    # Names of dialects whose ids are decimal numbers: of the job, and of all versions of a model together.
    Column("number", BigInteger, nullable=False),
    Column("registry_model", BigInteger, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("version_aliases", JSON, nullable=False, server_default=json.dumps([DEFAULT_VERSION])),
    Column("labels", JSON, nullable=False, server_default="{}"),
    _one_of("state", ModelState),
    # For the order of lists: a page begins after a position in this order.
    Index("ix_tuned_models_create_time_id", "create_time", "id"),
    Index("uq_tuned_models_number", "number", unique=True),
    Index("uq_tuned_models_version", "registry_model", "version", unique=True),
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
    # The highest step ever reported. A resumed job repeats steps; only later steps are progress.
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
    Column("project", Text, nullable=False, server_default=""),
    Column("location", Text, nullable=False, server_default=DEFAULT_LOCATION),
    # The values of the last snapshot, so that a job's progress is known without reading all snapshots.
    Column("completed_steps", Integer, nullable=False, server_default="0"),
    Column("last_loss", Double),
    # Objective, checkpoints, validation set, evaluations and preparation; see store/training_options.py. No query uses
    # its content.
    Column("training_options", JSON, nullable=False, server_default="{}"),
    # The server that runs the job or reads its examples, how often servers have taken the job, and a counter that the
    # holder increases. Only meaningful for running and preparing jobs. See store/leases.py.
    Column("held_by", String(32)),
    Column("claim_number", Integer, nullable=False, server_default="0"),
    Column("lease_renewals", Integer, nullable=False, server_default="0"),
    # What its losses gave reason to warn of when the job ended: kinds of findings, a blank between two; "": nothing.
    # NULL: the job has not ended with weights, or an earlier version ended it.
    Column("findings", Text),
    # As in `tuned_models`.
    Column("resolved_base", Text),
    # What the request said that only its dialect shows.
    Column("request_details", JSON, nullable=False, server_default="{}"),
    # NULL: nobody has computed them.
    Column("data_statistics", JSON(none_as_null=True)),
    # The lowest of its evaluations, so that lists are sorted by it without reading all evaluations.
    Column("best_validation_loss", Double),
    _one_of("state", JobState),
    CheckConstraint(f"(state IN {_FINAL}) = (complete_time IS NOT NULL)", name="final_has_complete_time"),
    CheckConstraint(f"(state IN {_UNSUCCESSFUL}) = (error_code IS NOT NULL)", name="unsuccessful_has_error"),
    CheckConstraint("(error_code IS NULL) = (error_message IS NULL)", name="error_has_message"),
    CheckConstraint("state NOT IN ('running', 'succeeded') OR start_time IS NOT NULL", name="started_has_start_time"),
    CheckConstraint("attempts >= 0 AND furthest_step >= 0", name="counts"),
    CheckConstraint("epoch_count >= 1 AND batch_size >= 1 AND example_count >= 1", name="sizes"),
    # For claiming: the index has only queued jobs, so that it stays small.
    Index(
        "ix_tuning_jobs_queue",
        "create_time",
        "id",
        sqlite_where=Column("state") == "queued",
        postgresql_where=Column("state") == "queued",
    ),
    # For renewing leases and for starting servers: the index has only running jobs, which are few.
    Index(
        "ix_tuning_jobs_running",
        "id",
        sqlite_where=Column("state") == "running",
        postgresql_where=Column("state") == "running",
    ),
    # The same for jobs whose examples are to be read from a bucket, the oldest first.
    Index(
        "ix_tuning_jobs_preparing",
        "create_time",
        "id",
        sqlite_where=Column("state") == "preparing",
        postgresql_where=Column("state") == "preparing",
    ),
)


def is_over(base_models: Collection[str], aliases: Collection[str] = ()) -> ColumnElement[bool]:
    """Whether a job is over one of these base models, which have these own names and aliases.

    An alias counts only for jobs of earlier versions, which did not record what it meant.
    """
    resolved, name = tuning_jobs.c.resolved_base, tuning_jobs.c.base_model
    names = [*base_models, *aliases]
    return or_(and_(resolved.is_not(None), resolved.in_(base_models)), and_(resolved.is_(None), name.in_(names)))


snapshots = Table(
    "snapshots",
    metadata,
    Column("job_id", ForeignKey("tuning_jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("mean_loss", Double, nullable=False),
    Column("compute_time", UtcDateTime, nullable=False),
    # NULL: a version without these columns took the step.
    Column("targets", BigInteger),
    Column("right_targets", BigInteger),
    CheckConstraint("step >= 1 AND epoch >= 0", name="counts"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("job_id", ForeignKey("tuning_jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("step", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("artifact", Text, nullable=False),
    Column("metrics", JSON, nullable=False),
    # The number of its endpoint, in dialects that have them; NULL: somebody deleted the endpoint.
    Column("endpoint", BigInteger),
    # Whether the endpoint answers with it.
    Column("deployed", Boolean, nullable=False, server_default=true()),
    CheckConstraint("number >= 1 AND step >= 0 AND epoch >= 0", name="counts"),
    Index("uq_checkpoints_endpoint", "endpoint", unique=True),
)

evaluations = Table(
    "evaluations",
    metadata,
    Column("job_id", ForeignKey("tuning_jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("mean_loss", Double, nullable=False),
    Column("targets", BigInteger, nullable=False),
    Column("right_targets", BigInteger, nullable=False),
    Column("compute_time", UtcDateTime, nullable=False),
    CheckConstraint("step >= 0 AND epoch >= 0", name="counts"),
    CheckConstraint("targets >= 1 AND right_targets BETWEEN 0 AND targets", name="right_targets_of_all"),
)

# Jobs whose trainer died while it was training them. See store/suspects.py.
suspects = Table(
    "suspects",
    metadata,
    Column("job_id", ForeignKey("tuning_jobs.id", ondelete="CASCADE"), primary_key=True),
    # The id of the last death of a trainer that had several jobs, the same for all of them; else of the job's own
    # trainer.
    Column("death", String(64), nullable=False),
    Column("shared_deaths", Integer, nullable=False),
    # Until the job has completed this step, it is trained alone.
    Column("alone_until_step", BigInteger, nullable=False),
    CheckConstraint("shared_deaths >= 0 AND alone_until_step >= 1", name="counts"),
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
    # One role for each person and model. EVERYONE has no address, and NULLs are never equal, so it has a second index.
    Index("uq_permissions_grantee", "model_id", "email", unique=True),
    Index(
        "uq_permissions_everyone",
        "model_id",
        unique=True,
        sqlite_where=Column("grantee_type") == "EVERYONE",
        postgresql_where=Column("grantee_type") == "EVERYONE",
    ),
    # A model has one owner; ownership is transferred, not shared.
    Index(
        "uq_permissions_owner",
        "model_id",
        unique=True,
        sqlite_where=Column("role") == "OWNER",
        postgresql_where=Column("role") == "OWNER",
    ),
    # A copy of the model's create time, for ordered lists.
    Column("model_create_time", UtcDateTime),
    # For the list of the models that a person may see: by address, then in the order of lists.
    Index("ix_permissions_order", "email", "model_create_time", "model_id"),
)

# A copy of each model's `reader_project_numbers` as rows, for searching.
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

# One row: the id by which data directories know their database. See store/database_id.py.
database_identity = Table(
    "database_identity",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("id", String(32), nullable=False),
    CheckConstraint("number = 1", name="one_row"),
)

# Jobs that somebody deleted. Only their files may be removed; a job that is merely unknown may be that of another
# database. No foreign key: the job's own row is gone.
deleted_jobs = Table(
    "deleted_jobs",
    metadata,
    Column("job_id", Id(32), primary_key=True),
    Column("delete_time", UtcDateTime, nullable=False),
)
