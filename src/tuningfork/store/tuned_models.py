"""Rows of tuned models: written, found, searched page by page, and deleted."""

import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, CompoundSelect, Connection, RowMapping, Select, and_, or_, select
from sqlalchemy.exc import IntegrityError

from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.permission import GranteeType, Principal, Role
from tuningfork.domain.tuned_model import Changeable, ModelState, TunedModel, TunedModelId
from tuningfork.store.database import is_duplicate
from tuningfork.store.schema import permissions, reader_projects, tuned_models


class IdTaken(Exception):
    """Another model or job has this id; the transaction is lost."""

    def __init__(self, taken: str) -> None:
        super().__init__(taken)
        self.id = taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place in the order of lists: after the model that was created then and has this id."""

    create_time: datetime
    model_id: TunedModelId


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which models to list; all conditions hold together.

    Models that the principal, one of their groups or their project holds a role on, at least the strongest of
    `least_roles` (none named: any role); with `shared_with_everyone`, those that everyone may read. `words` are parts
    of the display name or description, in any case.
    """

    principal: Principal
    least_roles: tuple[Role, ...] = ()
    shared_with_everyone: bool = False
    words: tuple[str, ...] = ()
    after: Place | None = None
    limit: int


def insert(connection: Connection, model: TunedModel) -> None:
    """Add a model.

    Raises:
        IdTaken: there is one of this id.

    """
    row = {
        "id": model.id,
        "base_model": model.base_model,
        "source": model.source,
        "display_name": model.display_name,
        "description": model.description,
        "search_text": _search_text(model),
        "state": model.state.value,
        "create_time": model.create_time,
        "update_time": model.update_time,
        "temperature": model.temperature,
        "top_p": model.top_p,
        "top_k": model.top_k,
        "reader_project_numbers": list(model.reader_project_numbers),
    }
    try:
        connection.execute(tuned_models.insert(), row)
    except IntegrityError as error:
        if is_duplicate(error, "tuned_models"):
            raise IdTaken(model.id) from error
        raise
    set_reader_projects(connection, model.id, model.reader_project_numbers)


def set_reader_projects(connection: Connection, model_id: TunedModelId, numbers: Iterable[int]) -> None:
    """Make these the only projects by which the model is found in lists; to be kept in step with the model's own."""
    connection.execute(reader_projects.delete().where(reader_projects.c.model_id == model_id))
    if rows := [{"model_id": model_id, "project_number": number} for number in sorted(set(numbers))]:
        connection.execute(reader_projects.insert(), rows)


def hold(connection: Connection, model_id: TunedModelId) -> None:
    """Let nobody else decide on the model's permissions until the transaction ends; no model, no effect."""
    connection.execute(select(tuned_models.c.id).where(tuned_models.c.id == model_id).with_for_update(key_share=True))


def find(connection: Connection, model_id: TunedModelId) -> TunedModel | None:
    """The model of this id, or None."""
    row = connection.execute(select(tuned_models).where(tuned_models.c.id == model_id)).mappings().first()
    return None if row is None else _model(row)


def update(connection: Connection, model: TunedModel, fields: Collection[Changeable]) -> None:
    """Write these fields of the model and its time of change; every other column stays as it is.

    The rest of `model` must have been read in this transaction, after `hold`: names and descriptions are found by
    both together.
    """
    row: dict[str, object] = {field.value: getattr(model, field.value) for field in fields}
    if Changeable.READER_PROJECT_NUMBERS in fields:
        row[Changeable.READER_PROJECT_NUMBERS.value] = list(model.reader_project_numbers)
        set_reader_projects(connection, model.id, model.reader_project_numbers)
    change = tuned_models.update().where(tuned_models.c.id == model.id)
    connection.execute(change.values(row | {"search_text": _search_text(model), "update_time": model.update_time}))


def set_state(connection: Connection, model_id: TunedModelId, state: ModelState, update_time: datetime) -> None:
    """Say whether the model can be called."""
    change = tuned_models.update().where(tuned_models.c.id == model_id)
    connection.execute(change.values(state=state.value, update_time=update_time))


def delete(connection: Connection, model_id: TunedModelId) -> None:
    """Remove the model with its job, snapshots, events and permissions; nothing happens if there is none."""
    connection.execute(tuned_models.delete().where(tuned_models.c.id == model_id))


def search(connection: Connection, wanted: Search) -> Sequence[TunedModel]:
    """At most `limit` models, the oldest first."""
    query = select(tuned_models).order_by(tuned_models.c.create_time, tuned_models.c.id).limit(wanted.limit)
    if wanted.shared_with_everyone:
        everyone = permissions.c.grantee_type == GranteeType.EVERYONE.value
        query = query.where(tuned_models.c.id.in_(select(permissions.c.model_id).where(everyone)))
    if wanted.least_roles or not wanted.shared_with_everyone:
        query = query.where(tuned_models.c.id.in_(_models_of(wanted.principal, wanted.least_roles)))
    for word in wanted.words:
        query = query.where(tuned_models.c.search_text.contains(fold(word), autoescape=True))
    if wanted.after:
        query = query.where(_is_after(wanted.after))
    return [_model(row) for row in connection.execute(query).mappings()]


def fold(text: str) -> str:
    """The form in which texts are compared: compatibility-normalized and without case, beyond ASCII too."""
    return unicodedata.normalize("NFKC", text).casefold()


def _search_text(model: TunedModel) -> str:
    return fold(f"{model.display_name}\n{model.description}")


def _models_of(principal: Principal, least_roles: tuple[Role, ...]) -> CompoundSelect[tuple[str]] | Select[tuple[str]]:
    """The ids of models that `domain.permission.role_of` gives a role on, the role that EVERYONE has left out."""
    least = max((role.rank for role in least_roles), default=Role.READER.rank)
    roles = [role.value for role in Role if role.rank >= least]
    kind, email = permissions.c.grantee_type, permissions.c.email
    theirs = or_(
        and_(kind == GranteeType.USER.value, email == principal.email),
        and_(kind == GranteeType.GROUP.value, email.in_(sorted(principal.groups))),
    )
    granted = select(permissions.c.model_id).where(theirs, permissions.c.role.in_(roles))
    project = principal.project_number
    if least > Role.READER.rank or project is None:
        return granted
    return granted.union_all(select(reader_projects.c.model_id).where(reader_projects.c.project_number == project))


def _is_after(place: Place) -> ColumnElement[bool]:
    created = tuned_models.c.create_time
    return or_(
        created > place.create_time,
        and_(created == place.create_time, tuned_models.c.id > place.model_id),
    )


def _model(row: RowMapping) -> TunedModel:
    return TunedModel(
        id=TunedModelId(row["id"]),
        base_model=BaseModelName(row["base_model"]),
        source=None if row["source"] is None else TunedModelId(row["source"]),
        display_name=row["display_name"],
        description=row["description"],
        state=ModelState(row["state"]),
        create_time=row["create_time"],
        update_time=row["update_time"],
        temperature=row["temperature"],
        top_p=row["top_p"],
        top_k=row["top_k"],
        reader_project_numbers=tuple(row["reader_project_numbers"]),
    )
