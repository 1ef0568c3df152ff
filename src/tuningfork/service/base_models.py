"""Finding a base model by any of its public names."""

from tuningfork.domain.base_model import Catalog, PublicModel, with_prefix
from tuningfork.domain.errors import NotFound


def find_base(catalog: Catalog, name: str, method: str) -> PublicModel:
    """The base model of this public name, with or without `models/`.

    Args:
        catalog: the models of this server.
        name: as the caller wrote it.
        method: what it is wanted for, in the dialect's words (`generateContent`); it is part of the error.

    Raises:
        NotFound: there is none, or no longer.

    """
    found = catalog.find(name)
    if found is None:
        raise NotFound(
            f"{with_prefix(name)} is not found for API version v1beta, or is not supported for {method}. "
            "Call ListModels to see the list of available models and their supported methods."
        )
    return found
