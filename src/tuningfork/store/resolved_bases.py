"""Records which base model the names in earlier requests mean, for rows of versions that did not record it."""

from collections.abc import Mapping

from sqlalchemy import Connection, select, union, update

from tuningfork.domain.base_model import BaseModelName
from tuningfork.store.schema import tuned_models, tuning_jobs

_TABLES = (tuned_models, tuning_jobs)


def unresolved(connection: Connection) -> set[BaseModelName]:
    """The names of base models in models and jobs of which nobody recorded which base they mean."""
    names = union(*(select(table.c.base_model).where(table.c.resolved_base.is_(None)) for table in _TABLES))
    return {BaseModelName(name) for name in connection.execute(names).scalars()}


def resolve(connection: Connection, meanings: Mapping[BaseModelName, BaseModelName]) -> None:
    """Record the own name of the base for each public name, where nothing is recorded yet."""
    for table in _TABLES:
        for name, own_name in meanings.items():
            change = update(table).where(table.c.base_model == name, table.c.resolved_base.is_(None))
            connection.execute(change.values(resolved_base=own_name))
