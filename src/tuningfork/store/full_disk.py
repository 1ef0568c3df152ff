"""Converts errors of a full disk, from files and from both databases, to one error: RESOURCE_EXHAUSTED.

Callers get the same code as when a quota is used up.
"""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from tuningfork.domain.errors import ResourceExhausted

_FULL = (errno.ENOSPC, errno.EDQUOT)
_POSTGRESQL_DISK_FULL = "53100"
"""SQLSTATE disk_full (PostgreSQL's appendix A, "Error Codes")."""


@contextmanager
def full_disk_reported() -> Iterator[None]:
    """Within the `with` block, replace errors of a full disk by `ResourceExhausted`; other errors are not changed."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise _full() from error
        raise
    except DBAPIError as error:
        if _is_full(error.orig):
            raise _full() from error
        raise


def _is_full(reason: BaseException | None) -> bool:
    is_sqlite = getattr(reason, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return is_sqlite or getattr(reason, "sqlstate", None) == _POSTGRESQL_DISK_FULL


def _full() -> ResourceExhausted:
    return ResourceExhausted(
        "The server's disk is full, so nothing of this was kept. Try again when its operator has made room, for "
        "example by deleting tuned models that nobody needs."
    )
