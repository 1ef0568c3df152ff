"""The scopes that access tokens can have, of all dialects, by the names that Google's clients ask for."""

from enum import StrEnum

from tuningfork.domain.authorization import KnownScopes

_AUTH = "https://www.googleapis.com/auth/"


class Scope(StrEnum):
    """A scope."""

    CLOUD_PLATFORM = f"{_AUTH}cloud-platform"
    CLOUD_PLATFORM_READONLY = f"{_AUTH}cloud-platform.read-only"
    GENERATIVE_LANGUAGE = f"{_AUTH}generative-language"
    TUNING = f"{_AUTH}generative-language.tuning"
    TUNING_READONLY = f"{_AUTH}generative-language.tuning.readonly"
    RETRIEVER = f"{_AUTH}generative-language.retriever"
    RETRIEVER_READONLY = f"{_AUTH}generative-language.retriever.readonly"
    STORAGE = f"{_AUTH}devstorage.full_control"
    STORAGE_READ_WRITE = f"{_AUTH}devstorage.read_write"
    STORAGE_READ_ONLY = f"{_AUTH}devstorage.read_only"


SCOPES = KnownScopes(names=tuple(scope.value for scope in Scope), prefix=_AUTH)
"""All scopes that an access token can have."""
