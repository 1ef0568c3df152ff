"""The table of tuned models: writes, finds, searches and deletes them."""

import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, Table, and_, exists, func, or_, select, union
from sqlalchemy.exc import IntegrityError

from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.permission import GranteeType, Principal, Role
from tuningfork.domain.tuned_model import Changeable, ModelState, ProjectLocation, TunedModel, TunedModelId
from tuningfork.store.database import is_duplicate
from tuningfork.store.schema import permissions, reader_projects, tuned_models

_MOST_GROUPS = 50


def count_by_state_and_base(connection: Connection) -> dict[tuple[ModelState, BaseModelName], int]:
    """How many models are in each state over each base; a pair without models is left out."""
    columns = (tuned_models.c.state, tuned_models.c.base_model)
    query = select(*columns, func.count()).group_by(*columns).order_by(*columns)
    return {(ModelState(state), BaseModelName(base)): count for state, base, count in connection.execute(query)}


class IdTaken(Exception):
    """Another model or job has this id already; the transaction must be rolled back."""

    def __init__(self, taken: str) -> None:
        super().__init__(taken)
        self.id = taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a page of a list begins: after the model with this create time and id."""

    create_time: datetime
    model_id: TunedModelId


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which models to list; a model must satisfy all conditions.

    The principal, one of their groups or their project must have a role on the model, at least the strongest of
    `least_roles` (empty: any role); with `shared_with_everyone`, everyone must be able to read it. `words` are parts of
    the display name or description, in any case. `belonging_to` None: models of any project and location.
    """

    principal: Principal
    least_roles: tuple[Role, ...] = ()
    shared_with_everyone: bool = False
    words: tuple[str, ...] = ()
    belonging_to: ProjectLocation | None = None
    after: Place | None = None
    limit: int
    newest_first: bool = False


def insert(connection: Connection, model: TunedModel) -> None:
    """Add a model.

    Raises:
        IdTaken: there is a model with this id already.

    """
    row = {
        "id": model.id,
        "base_model": model.base_model,
        "resolved_base": model.resolved_base,
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
        "project": model.project,
        "location": model.location,
        "default_checkpoint": model.default_checkpoint,
        "number": model.number,
        "registry_model": model.registry_model,
        "version": model.version,
        "version_aliases": list(model.version_aliases),
        "labels": dict(model.labels),
    }
    try:
        connection.execute(tuned_models.insert(), row)
    except IntegrityError as error:
        if is_duplicate(error, "tuned_models"):
            raise IdTaken(model.id) from error
        raise
    set_reader_projects(connection, model.id, model.reader_project_numbers)


def set_reader_projects(connection: Connection, model_id: TunedModelId, numbers: Iterable[int]) -> None:
    """Replace the rows of reader projects, by which lists find the model. They must equal `reader_project_numbers`."""
    connection.execute(reader_projects.delete().where(reader_projects.c.model_id == model_id))
    made = select(tuned_models.c.create_time).where(tuned_models.c.id == model_id).scalar_subquery()
    rows = [{"model_id": model_id, "project_number": number} for number in sorted(set(numbers))]
    if rows:
        connection.execute(reader_projects.insert().values([{**row, "model_create_time": made} for row in rows]))


def hold(connection: Connection, model_id: TunedModelId) -> None:
    """Lock the model until the transaction ends, for changes of its permissions; no effect if it does not exist."""
    connection.execute(select(tuned_models.c.id).where(tuned_models.c.id == model_id).with_for_update(key_share=True))


def find(connection: Connection, model_id: TunedModelId) -> TunedModel | None:
    """The model with this id, or None."""
    row = connection.execute(select(tuned_models).where(tuned_models.c.id == model_id)).mappings().first()
    return None if row is None else model_of(row)


def update(connection: Connection, model: TunedModel, fields: Collection[Changeable]) -> None:
    """Write these fields of the model and its time of change; every other column stays as it is.

    The other fields of `model` must have been read in this transaction, after `hold`, since the searchable text is made
    of name and description together.
    """
    row: dict[str, object] = {field.value: getattr(model, field.value) for field in fields}
    if Changeable.READER_PROJECT_NUMBERS in fields:
        row[Changeable.READER_PROJECT_NUMBERS.value] = list(model.reader_project_numbers)
        set_reader_projects(connection, model.id, model.reader_project_numbers)
    change = tuned_models.update().where(tuned_models.c.id == model.id)
    connection.execute(change.values(row | {"search_text": _search_text(model), "update_time": model.update_time}))


def set_state(connection: Connection, model_id: TunedModelId, state: ModelState, update_time: datetime) -> None:
    """Set the model's state."""
    change = tuned_models.update().where(tuned_models.c.id == model_id)
    connection.execute(change.values(state=state.value, update_time=update_time))


def delete(connection: Connection, model_id: TunedModelId) -> None:
    """Remove the model with its job, snapshots, events and permissions; nothing happens if there is none."""
    connection.execute(tuned_models.delete().where(tuned_models.c.id == model_id))


def search(connection: Connection, wanted: Search) -> Sequence[TunedModel]:
    """At most `limit` models, the oldest first, or with `newest_first` the newest."""
    branches = [_branch(grants, wanted) for grants in grants_of(wanted)]
    if not branches:
        return []
    # Each branch yields its first `limit` models in order, so the first `limit` of all are among them.
    found = union(*(select(branch.subquery().c.model_id) for branch in branches)).subquery()
    query = select(tuned_models).join(found, found.c.model_id == tuned_models.c.id)
    query = query.order_by(*_ordered(wanted, tuned_models.c.create_time, tuned_models.c.id)).limit(wanted.limit)
    return [model_of(row) for row in connection.execute(query).mappings()]


def fold(text: str) -> str:
    """The form in which texts are compared: compatibility-normalized and case-folded, also beyond ASCII."""
    return unicodedata.normalize("NFKC", text).casefold()


def _search_text(model: TunedModel) -> str:
    return fold(f"{model.display_name}\n{model.description}")


@dataclass(frozen=True, slots=True)
class Grants:
    """One set of rows that give access to models. An index yields them in the order of lists."""

    table: Table
    condition: ColumnElement[bool]


def grants_of(wanted: Search) -> Iterator[Grants]:
    """The rows that give a principal roles, as in `domain.permission.role_of`; EVERYONE's only if requested."""
    kind, email = permissions.c.grantee_type, permissions.c.email
    if wanted.shared_with_everyone and not wanted.least_roles:
        yield Grants(permissions, and_(email.is_(None), kind == GranteeType.EVERYONE.value))
        return
    least = max((role.rank for role in wanted.least_roles), default=Role.READER.rank)
    role = permissions.c.role.in_([role.value for role in Role if role.rank >= least])
    yield Grants(permissions, and_(email == wanted.principal.email, kind == GranteeType.USER.value, role))
    groups = sorted(wanted.principal.groups)
    # A query for each group yields models in order. With more groups than databases accept queries in a union, there is
    # one query for all groups.
    for some in [[group] for group in groups] if len(groups) <= _MOST_GROUPS else [groups]:
        yield Grants(permissions, and_(email.in_(some), kind == GranteeType.GROUP.value, role))
    project = wanted.principal.project_number
    if least <= Role.READER.rank and project is not None:
        yield Grants(reader_projects, reader_projects.c.project_number == project)


def _branch(grants: Grants, wanted: Search) -> Select[tuple[str]]:
    """The first models, in order, that these rows grant access to and that satisfy the other conditions."""
    columns = grants.table.c
    query = select(columns.model_id).where(grants.condition)
    query = query.order_by(*_ordered(wanted, columns.model_create_time, columns.model_id)).limit(wanted.limit)
    if wanted.shared_with_everyone and wanted.least_roles:
        everyone = permissions.alias()
        is_everyones = everyone.c.grantee_type == GranteeType.EVERYONE.value
        query = query.where(exists().where(everyone.c.model_id == columns.model_id, is_everyones))
    if wanted.words or wanted.belonging_to is not None:
        query = query.join(tuned_models, tuned_models.c.id == columns.model_id)
        for word in wanted.words:
            query = query.where(tuned_models.c.search_text.contains(fold(word), autoescape=True))
        if wanted.belonging_to is not None:
            query = query.where(belongs_to(wanted.belonging_to))
    if (place := wanted.after) is not None:
        query = query.where(
            _is_after(place, columns.model_create_time, columns.model_id, newest_first=wanted.newest_first)
        )
    return query


def belongs_to(place: ProjectLocation) -> ColumnElement[bool]:
    """Whether a model belongs to this project and location."""
    return and_(tuned_models.c.project == place.project, tuned_models.c.location == place.location)


def _ordered(wanted: Search, *columns: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    return [column.desc() if wanted.newest_first else column for column in columns]


def _is_after(
    place: Place, create_time: ColumnElement[Any], model_id: ColumnElement[Any], *, newest_first: bool
) -> ColumnElement[bool]:
    """Whether a row comes after this place in the order of the list."""
    if newest_first:
        earlier = or_(create_time < place.create_time, model_id < place.model_id)
        return and_(create_time <= place.create_time, earlier)
    later = or_(create_time > place.create_time, model_id > place.model_id)
    return and_(create_time >= place.create_time, later)


def model_of(row: RowMapping) -> TunedModel:
    """The model of a row of the table."""
    return TunedModel(
        id=TunedModelId(row["id"]),
        base_model=BaseModelName(row["base_model"]),
        resolved_base=None if row["resolved_base"] is None else BaseModelName(row["resolved_base"]),
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
        project=row["project"],
        location=row["location"],
        default_checkpoint=row["default_checkpoint"],
        number=row["number"],
        parent=None if row["registry_model"] == row["number"] else row["registry_model"],
        version=row["version"],
        version_aliases=tuple(row["version_aliases"]),
        labels=row["labels"],
    )
