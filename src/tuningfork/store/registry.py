"""Finds models, versions and endpoints by their numbers, for dialects whose names have decimal numbers.

A number is found only in the project and location to which its model belongs.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, Connection, Update, case, select

from tuningfork.domain.checkpoint import Checkpoint
from tuningfork.domain.tuned_model import DEFAULT_VERSION, ModelState, ProjectLocation, TunedModel, TunedModelId
from tuningfork.store.checkpoints import checkpoint_of
from tuningfork.store.database import lock_name
from tuningfork.store.schema import checkpoints, tuned_models, tuning_jobs
from tuningfork.store.tuned_models import belongs_to, model_of

_MOST = 2**63 - 1


def find_numbered(connection: Connection, place: ProjectLocation, number: int) -> TunedModel | None:
    """The model whose job has this number; None if there is none here."""
    found = _models(connection, place, tuned_models.c.number == number) if number <= _MOST else []
    return found[0] if found else None


def versions_of(connection: Connection, place: ProjectLocation, registry_model: int) -> Sequence[TunedModel]:
    """All versions of the model with this number, the first one first; empty if there is none here."""
    if registry_model > _MOST:
        return []
    return _models(connection, place, tuned_models.c.registry_model == registry_model)


def find_version(
    connection: Connection, place: ProjectLocation, registry_model: int, version: str = DEFAULT_VERSION
) -> TunedModel | None:
    """One version of the model with this number, by its own number or an alias; None if there is none here."""
    versions = versions_of(connection, place, registry_model)
    named = (each for each in versions if version == str(each.version) or version in each.version_aliases)
    return next(named, None)


def as_next_version(connection: Connection, model: TunedModel) -> TunedModel:
    """The model as the next version of its parent, and as its default version from now on.

    Others that add a version of the same parent wait until this transaction ends. A model without a parent is returned
    as it is.
    """
    if model.parent is None:
        return model
    lock_name(connection, f"versions of {model.parent}")
    others = select(tuned_models).where(tuned_models.c.registry_model == model.parent)
    versions = [model_of(row) for row in connection.execute(others).mappings()]
    for each in versions:
        if DEFAULT_VERSION in each.version_aliases:
            set_aliases(connection, each.id, [name for name in each.version_aliases if name != DEFAULT_VERSION])
    return replace(model, version=max((each.version for each in versions), default=0) + 1)


def pass_on_default(connection: Connection, model: TunedModel) -> None:
    """Make another version the default one, if it is this model, which is about to be deleted: one that can be called.

    Of several the newest; if none can be called, the newest of all.
    """
    if DEFAULT_VERSION not in model.version_aliases:
        return
    others = select(tuned_models).where(
        tuned_models.c.registry_model == model.registry_model, tuned_models.c.id != model.id
    )
    is_active = case((tuned_models.c.state == ModelState.ACTIVE.value, 0), else_=1)
    row = connection.execute(others.order_by(is_active, tuned_models.c.version.desc()).limit(1)).mappings().first()
    if row is not None:
        newest = model_of(row)
        set_aliases(connection, newest.id, (*newest.version_aliases, DEFAULT_VERSION))


def set_aliases(connection: Connection, model_id: TunedModelId, aliases: Sequence[str]) -> None:
    """Replace the aliases of a version."""
    change = tuned_models.update().where(tuned_models.c.id == model_id)
    connection.execute(change.values(version_aliases=list(aliases)))


def find_endpoint(
    connection: Connection, place: ProjectLocation, endpoint: int
) -> tuple[TunedModel, Checkpoint] | None:
    """The checkpoint of the endpoint with this number, deployed or not, and its model; None if there is none here."""
    if endpoint > _MOST:
        return None
    kept = select(checkpoints).where(checkpoints.c.endpoint == endpoint)
    row = connection.execute(kept).mappings().first()
    if row is None:
        return None
    made_by = select(tuning_jobs.c.model_id).where(tuning_jobs.c.id == row["job_id"]).scalar_subquery()
    models = _models(connection, place, tuned_models.c.id == made_by)
    return (models[0], checkpoint_of(row)) if models else None


def set_deployed(connection: Connection, checkpoint: Checkpoint, *, deployed: bool) -> None:
    """Let the checkpoint's endpoint answer with it, or not."""
    connection.execute(_change(checkpoint).values(deployed=deployed))


def remove_endpoint(connection: Connection, checkpoint: Checkpoint) -> None:
    """Delete the checkpoint's endpoint, which is not found any more. Its weights stay."""
    connection.execute(_change(checkpoint).values(endpoint=None))


def _change(checkpoint: Checkpoint) -> Update:
    columns = checkpoints.c
    return checkpoints.update().where(columns.job_id == checkpoint.job_id, columns.number == checkpoint.number)


def _models(connection: Connection, place: ProjectLocation, condition: ColumnElement[bool]) -> list[TunedModel]:
    query = select(tuned_models).where(condition, belongs_to(place)).order_by(tuned_models.c.version)
    return [model_of(row) for row in connection.execute(query).mappings()]
