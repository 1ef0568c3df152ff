"""The id of a request: given by its caller or made here, in the answer, and in every record about the request."""

import logging
import re
from collections.abc import Callable
from contextvars import ContextVar

HEADER = "x-request-id"
"""The header, over HTTP, and the metadata key, over gRPC."""

current_request: ContextVar[str] = ContextVar("request", default="")
"""The id of the request that this thread or task works for; "": it works for none."""

_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_BITS = 64


def request_id(given: str | None, random_bits: Callable[[int], int]) -> str:
    """The id of a request: the given one, if it is of up to 64 letters, digits, dots, hyphens and underscores.

    Else a new one.
    """
    if given is not None and _SANE.fullmatch(given):
        return given
    return f"{random_bits(_BITS):016x}"


class AddRequestId(logging.Filter):
    """Adds the id of the current request to records, as `request`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        if (current := current_request.get()) and not hasattr(record, "request"):
            record.request = current
        return True
