"""Finding a base model by any of its public names."""

from tuningfork.domain.base_model import Catalog, PublicModel, with_prefix
from tuningfork.domain.errors import BaseModelNotFound


def find_base(catalog: Catalog, name: str, method: str) -> PublicModel:
    """The base model of this public name, with or without `models/`.

    Args:
        catalog: the models of this server.
        name: as the caller wrote it.
        method: what it is wanted for, in the dialect's words (`generateContent`); it is part of the error.

    Raises:
        BaseModelNotFound: there is none, or no longer.

    """
    found = catalog.find(name)
    if found is None:
        raise BaseModelNotFound(with_prefix(name), method)
    return found
