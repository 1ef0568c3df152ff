"""Finding base models by any of their public names, and which of them cannot be used.

What callers are told of a base names no directory of the server; the log does.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from tuningfork.domain.base_model import BaseModelName, Catalog, PublicModel, with_prefix
from tuningfork.domain.references import BaseRef
from tuningfork.domain.refusals import BaseModelNotFound, BaseModelRefused
from tuningfork.domain.server_paths import without_location
from tuningfork.domain.tuned_model import TunedModel
from tuningfork.execution.base import Generators, WorkerDied
from tuningfork.store.database import Database
from tuningfork.store.resolved_bases import resolve, unresolved


def find_base(catalog: Catalog, name: str) -> PublicModel:
    """The base model of this public name, with or without `models/`.

    Args:
        catalog: the models of this server.
        name: the name as the caller wrote it.

    Raises:
        BaseModelNotFound: this server has no such base model.

    """
    found = catalog.find(name)
    if found is None:
        raise BaseModelNotFound(BaseRef(with_prefix(name)))
    return found


def found_base(catalog: Catalog, tuned: TunedModel) -> PublicModel | None:
    """Like `base_of`; None if this server does not have the base model any more."""
    return catalog.find(tuned.base_model, tuned.resolved_base)


def base_of(catalog: Catalog, tuned: TunedModel) -> PublicModel:
    """The base model of a tuned model, under the name with which it was created.

    Raises:
        BaseModelNotFound: this server does not have the base model any more.

    """
    found = found_base(catalog, tuned)
    if found is None:
        # A name that means another base now is not what is missing.
        moved = catalog.find(tuned.base_model) is not None
        raise BaseModelNotFound(BaseRef(tuned.resolved_base if moved and tuned.resolved_base else tuned.base_model))
    return found


def why_base_is_lacking(catalog: Catalog, base_model: str, resolved_base: BaseModelName | None) -> str:
    """Why this server cannot use the base of a waiting job, as the rest of a sentence; "": it can."""
    found = catalog.find(base_model, resolved_base)
    if found is None:
        return f"this server does not have the base model {base_model}"
    return f"this server cannot use {base_model}: {found.base.fault}" if found.base.fault else ""


def resolve_names(database: Database, catalog: Catalog) -> None:
    """Record which bases the models and jobs of earlier versions are tuned on, before a name means another base.

    To be called when the server starts. Names that the catalog lacks stay as they are.
    """
    with database.read() as connection:
        names = unresolved(connection)
    meanings = {name: found.base.name for name in names if (found := catalog.find(name)) is not None}
    if meanings:
        with database.write() as connection:
            resolve(connection, meanings)


def check_described(model: PublicModel) -> None:
    """Refuse a base model whose files could not be read when the server started.

    Raises:
        BaseModelRefused: they could not.

    """
    if model.base.fault:
        raise BaseModelRefused(BaseRef(model.name), without_location(model.base.fault, model.base))


def check_usable(model: PublicModel, generators: Generators) -> None:
    """Refuse a base model whose files could not be read, or did harm in the generator.

    The generator tries a base again after some minutes or when its files have changed, and is asked to do so here.

    Raises:
        BaseModelRefused: the base cannot be used now.

    """
    check_described(model)
    reason = generators.refused_bases().get(model.base.name)
    if reason:
        with suppress(WorkerDied):
            generators.warm(model.base)
        raise BaseModelRefused(BaseRef(model.name), without_location(reason, model.base))


def with_faults(models: Sequence[PublicModel], generators: Generators) -> tuple[PublicModel, ...]:
    """The models, with a description that says what is wrong for each that cannot be used."""
    refused = generators.refused_bases()
    faults = [without_location(model.base.fault or refused.get(model.base.name, ""), model.base) for model in models]
    return tuple(
        replace(model, description=f"Cannot be used on this server: {fault}.") if fault else model
        for model, fault in zip(models, faults, strict=True)
    )
