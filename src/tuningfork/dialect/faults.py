"""Turns an exception into the error that the caller may read, over HTTP or gRPC, and logs faults of the server."""

import logging
from copy import copy

from tuningfork.domain.errors import BaseUnusable, Code, InternalError, TuningforkError
from tuningfork.domain.server_paths import without_directories
from tuningfork.logs.once import Once

logger = logging.getLogger(__name__)

_OUR_FAULT = "An internal error has occurred; the server's log has the details. Please try again."

_unusable = Once()


def public_error(error: Exception) -> TuningforkError:
    """The error that the caller may read.

    A `TuningforkError` is returned as it is; but if its code says that the server is at fault, it is logged, and the
    caller gets it without the server's directories. That a base model cannot be used is logged once in a while, not for
    every request that asks for it, and without a traceback, which would tell nothing of its files. Any other exception
    is logged, and the caller gets an `InternalError` without the exception's text.
    """
    if isinstance(error, TuningforkError):
        if error.code in (Code.INTERNAL, Code.UNKNOWN):
            _log_fault(error)
            told = copy(error)
            told.message = without_directories(error.message)
            return told
        return error
    logger.error("unexpected %s", type(error).__name__, exc_info=error)
    return InternalError(_OUR_FAULT)


def _log_fault(error: TuningforkError) -> None:
    if not isinstance(error, BaseUnusable):
        logger.error("%s", error, exc_info=error)
    elif _unusable.is_new(error.message):
        logger.error("%s", error, extra={"action": "base_unusable"})
