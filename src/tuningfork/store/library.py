"""Searches tuned models together with their jobs and owners, for pages that can be sorted and jumped to."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, func, or_, select, union

from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.library import LibraryEntry, LibraryOrder, LibraryQuery
from tuningfork.domain.permission import Email, Permission, Principal, Role, role_of
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.domain.tuning_job import JobState
from tuningfork.store import access, tuning_jobs
from tuningfork.store.schema import permissions, tuned_models
from tuningfork.store.schema import tuning_jobs as jobs
from tuningfork.store.tuned_models import Search, fold, grants_of, model_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The entries of one page, how many there are on all pages, and what there is besides."""

    entries: tuple[LibraryEntry, ...]
    total: int
    states: Counter[JobState]
    bases: Counter[BaseModelName]


def search(connection: Connection, principal: Principal, query: LibraryQuery, *, everybodys: bool = False) -> Found:
    """One page of the models on which the principal, one of their groups or their project has a role.

    With `everybodys`, of all models there are; a principal without a role on a model is shown as its reader.
    """
    visible = select(tuned_models.c.id.label("model_id")).subquery("visible") if everybodys else _visible(principal)
    states, bases = Counter[JobState](), Counter[BaseModelName]()
    if visible is None:
        return Found(entries=(), total=0, states=states, bases=bases)
    columns = (jobs.c.state, tuned_models.c.base_model)
    for state, base, count in connection.execute(_of(visible, *columns, func.count()).group_by(*columns)):
        states[JobState(state)] += count
        bases[BaseModelName(base)] += count
    wanted = _conditions(query)
    total = connection.execute(_of(visible, func.count()).where(*wanted)).scalar_one() if wanted else states.total()
    ids = _of(visible, tuned_models.c.id).where(*wanted).order_by(*_order(query))
    ids = ids.limit(query.page_size).offset((query.page - 1) * query.page_size)
    shown = [TunedModelId(row.id) for row in connection.execute(ids)]
    return Found(entries=_entries(connection, principal, shown), total=total, states=states, bases=bases)


def _visible(principal: Principal) -> FromClause | None:
    """The ids of the models that the principal may see; None if nothing can give them a role."""
    everything = Search(principal=principal, limit=0)
    branches = [select(grants.table.c.model_id).where(grants.condition) for grants in grants_of(everything)]
    return union(*branches).subquery("visible") if branches else None


def _of(visible: FromClause, *columns: ColumnElement[Any]) -> Select[Any]:
    """A query of columns of the visible models, their jobs and their owners' addresses."""
    is_owner = and_(permissions.c.model_id == tuned_models.c.id, permissions.c.role == Role.OWNER.value)
    joined = visible.join(tuned_models, tuned_models.c.id == visible.c.model_id)
    joined = joined.join(jobs, jobs.c.model_id == tuned_models.c.id).outerjoin(permissions, is_owner)
    return select(*columns).select_from(joined)


def _conditions(query: LibraryQuery) -> list[ColumnElement[bool]]:
    return list(_each_condition(query))


def _each_condition(query: LibraryQuery) -> Iterator[ColumnElement[bool]]:
    for word in map(fold, query.words):
        in_text = tuned_models.c.search_text.contains(word, autoescape=True)
        yield or_(in_text, tuned_models.c.id.contains(word, autoescape=True))
    if query.states:
        yield jobs.c.state.in_([state.value for state in query.states])
    if query.base is not None:
        yield or_(tuned_models.c.base_model == query.base, tuned_models.c.resolved_base == query.base)
    if query.owner is not None:
        yield permissions.c.email == query.owner


def _order(query: LibraryQuery) -> list[ColumnElement[Any]]:
    loss = func.coalesce(jobs.c.best_validation_loss, jobs.c.last_loss)
    first: ColumnElement[Any] = {
        LibraryOrder.CREATE_TIME: tuned_models.c.create_time,
        LibraryOrder.DISPLAY_NAME: func.lower(tuned_models.c.display_name),
        LibraryOrder.LOSS: loss,
    }[query.order]
    by: list[ColumnElement[Any]] = [first.desc() if query.descending else first.asc()]
    if query.order is LibraryOrder.LOSS:
        by.insert(0, loss.is_(None))
    # Of equals the newest comes first, so that the order is the same on each page.
    return [*by, tuned_models.c.create_time.desc(), tuned_models.c.id]


def _entries(connection: Connection, principal: Principal, shown: Sequence[TunedModelId]) -> tuple[LibraryEntry, ...]:
    query = select(tuned_models).where(tuned_models.c.id.in_(shown))
    models = {TunedModelId(row["id"]): model_of(row) for row in connection.execute(query).mappings()}
    made_by = tuning_jobs.of_models(connection, shown)
    granted: dict[TunedModelId, list[Permission]] = {}
    for permission in access.permissions_on(connection, shown):
        granted.setdefault(permission.model_id, []).append(permission)
    found = []
    for model_id in shown:
        theirs, model = granted.get(model_id, []), models[model_id]
        owner = next((each.email for each in theirs if each.role is Role.OWNER), None)
        role = role_of(principal, theirs, model.reader_project_numbers) or Role.READER
        found.append(LibraryEntry(model=model, job=made_by[model_id], owner=owner or Email(""), role=role))
    return tuple(found)
