"""What a caller is told of an exception, whatever carries the answer; what is a fault of ours is logged here."""

import logging

from tuningfork.domain.errors import InternalError, RpcCode, TuningforkError

logger = logging.getLogger(__name__)

_OUR_FAULT = "An internal error has occurred; the server's log has the details. Please try again."


def told(error: Exception) -> TuningforkError:
    """The error that the caller hears of. One that was not foreseen is logged, and its text stays there."""
    if isinstance(error, TuningforkError):
        if error.code in (RpcCode.INTERNAL, RpcCode.UNKNOWN):
            logger.error("%s", error, exc_info=error)
        return error
    logger.error("unexpected %s", type(error).__name__, exc_info=error)
    return InternalError(_OUR_FAULT)
