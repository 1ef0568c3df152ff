"""The methods of storage/v1 that this server has: names, scopes and budgets."""

from tuningfork.dialect.method import Asks, Method
from tuningfork.dialect.scopes import Scope
from tuningfork.service.quotas import Cost

CHANGES = (Scope.CLOUD_PLATFORM.value, Scope.STORAGE.value, Scope.STORAGE_READ_WRITE.value)
"""Any of these is enough to write objects and to make and remove buckets."""
READS = (*CHANGES, Scope.STORAGE_READ_ONLY.value, Scope.CLOUD_PLATFORM_READONLY.value)
"""Any of these is enough to read."""


def _asks(name: str, scopes: tuple[str, ...], cost: Cost = Cost.REQUEST) -> Asks:
    return Asks(full_name=f"storage.{name}", scopes=scopes, action=None, cost=cost)


class StorageMethod(Method):
    """A method of storage/v1. The name of each is what the real API calls the permission that it needs."""

    CREATE_BUCKET = _asks("buckets.insert", CHANGES)
    GET_BUCKET = _asks("buckets.get", READS)
    LIST_BUCKETS = _asks("buckets.list", READS)
    DELETE_BUCKET = _asks("buckets.delete", CHANGES)
    LIST_OBJECTS = _asks("objects.list", READS)
    GET_OBJECT = _asks("objects.get", READS)
    UPDATE_OBJECT = _asks("objects.patch", CHANGES)
    DELETE_OBJECT = _asks("objects.delete", CHANGES)
    COPY_OBJECT = _asks("objects.copy", CHANGES)
    REWRITE_OBJECT = _asks("objects.rewrite", CHANGES)
    CREATE_OBJECT = _asks("objects.insert", CHANGES)
    # A large object comes in many requests.
    CONTINUE_UPLOAD = _asks("objects.insert.continue", CHANGES, Cost.NOTHING)
    CANCEL_UPLOAD = _asks("objects.insert.cancel", CHANGES, Cost.NOTHING)
