"""Finding base models by any of their public names, and which of them cannot be used.

What callers are told of a base names no directory of the server; the log does.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from tuningfork.domain.base_model import Catalog, PublicModel, with_prefix
from tuningfork.domain.references import BaseRef
from tuningfork.domain.refusals import BaseModelNotFound, BaseModelRefused
from tuningfork.domain.server_paths import without_location
from tuningfork.execution.base import Generators, WorkerDied


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
