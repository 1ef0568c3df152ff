"""The access log: one record for each request, without any text of the caller but the path."""

import logging
import re
from dataclasses import dataclass
from urllib.parse import quote

ACCESS_LOGGER = "tuningfork.access"

_logger = logging.getLogger(ACCESS_LOGGER)
_SHOWN_CHARACTERS = 200
_SHOWN_VERB_CHARACTERS = 20
_QUERY = re.compile("[?&]")
_KEY = re.compile(r"tf_[\w-]{16,}")
_UNQUOTED = "/:@!$'()*+,;=~"
_MESSAGE = "%s %s %s in %s ms, %s bytes to %s, key %s"


@dataclass(slots=True)
class Access:
    """A request, as far as it is known so far.

    `verb` and `path` are as the caller sent them; the path is without the query. `route` is the path's pattern; ""
    where no route matches. `endpoint` is the name by which metrics count the request. `key` is the id of the API key;
    "" if there is none. A `quiet` request is logged at debug level if it succeeds, since monitoring sends it all the
    time. `sent_bytes` counts the bytes of the answer.
    """

    verb: str
    path: str
    remote: str
    route: str = ""
    endpoint: str = "none"
    key: str = ""
    quiet: bool = False
    status: str = "none"
    sent_bytes: int = 0


def log_access(access: Access, seconds: float) -> None:
    """Log a request that has ended."""
    level = logging.DEBUG if access.quiet and access.status in ("200", "OK") else logging.INFO
    if not _logger.isEnabledFor(level):
        return
    verb, path = shown_verb(access.verb), shown_path(access.path)
    milliseconds = round(seconds * 1000, 1)
    said = (verb, path, access.status, milliseconds, access.sent_bytes, access.remote, access.key or "none")
    # Made by hand: the logger would look for the line of code that logs, which takes longer than all the rest.
    record = logging.LogRecord(ACCESS_LOGGER, level, "", 0, _MESSAGE, said, None)
    record.__dict__.update(
        action="request",
        verb=verb,
        path=path,
        route=access.route,
        status=access.status,
        milliseconds=milliseconds,
        bytes=access.sent_bytes,
        remote=access.remote,
        key=access.key,
    )
    _logger.handle(record)


def shown_verb(verb: str) -> str:
    """What logs show of a verb: its first letters, since callers may send any text."""
    return verb[:_SHOWN_VERB_CHARACTERS]


def shown_path(path: str) -> str:
    """What logs show of a path: no API key, nothing that was meant as a query, and no spaces, as in a URL.

    A query whose `?` was mistyped or escaped is part of the path, and so is the key in it.
    """
    meant = _QUERY.split(path, maxsplit=1)[0] if "?" in path or "&" in path else path
    without_key = _KEY.sub("tf_...", meant) if "tf_" in meant else meant
    return quote(without_key, safe=_UNQUOTED, errors="replace")[:_SHOWN_CHARACTERS]


def key_of(credential: str) -> str:
    """What the access log shows of a principal's credential: a key's id, or for a token of an issuer only its kind."""
    return credential.partition(":")[0]
