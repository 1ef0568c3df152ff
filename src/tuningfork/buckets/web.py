"""Files at `http://` and `https://` addresses, below those that the operator allows, and at no others.

No redirect is followed, since it could lead to any address that the server reaches. No credential is sent, and no proxy
is asked.
"""

import io
import logging
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING, BinaryIO, cast
from urllib.parse import quote

from tuningfork.buckets.errors import ObjectNotFound, StoreUnreachable
from tuningfork.buckets.uris import Scheme
from tuningfork.domain.errors import TuningforkError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

logger = logging.getLogger(__name__)

_SILENCE_SECONDS = 30.0
"""How long a server may take to answer, and between two pieces of its answer."""
_PIECE_BYTES = 2**20
_FOUND = 200
_NOT_THERE = (404, 410)
_REDIRECTS = range(300, 400)


class WebFiles:
    """The files of one server. `host` is its name or address, with a port or without."""

    def __init__(self, scheme: Scheme, host: str) -> None:
        self._scheme = scheme
        self._host = host

    def status(self, key: str) -> tuple[int, datetime]:
        """The size of a file in bytes, 0 if the server does not tell it, and when it was written.

        Raises:
            TuningforkError: as `open`.

        """
        with self.translated(key), self._answered(key) as answer:
            written = answer.getheader("last-modified")
            changed = datetime.now(UTC) if written is None else parsedate_to_datetime(written)
            return answer.length or 0, changed

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """A file for reading; closed at the end.

        Raises:
            ObjectNotFound: there is no such file.
            StoreUnreachable: the server does not answer, or not with the file.

        """
        with ExitStack() as opened:
            with self.translated(key):
                answer = opened.enter_context(self._answered(key))
            yield cast("BinaryIO", io.BufferedReader(_Body(answer), _PIECE_BYTES))

    @contextmanager
    def translated(self, key: str) -> Iterator[None]:
        """Within the `with` block, replace errors of the network while the file of this key is read."""
        try:
            yield
        except (TuningforkError, MemoryError):
            raise
        except Exception as error:
            # Answers that are none are errors of http.client, which are no OSError.
            raise self._unreachable(key, f"{type(error).__name__}: {error}") from error

    @contextmanager
    def _answered(self, key: str) -> Iterator[HTTPResponse]:
        kind = HTTPSConnection if self._scheme is Scheme.HTTPS else HTTPConnection
        with closing(kind(self._host, timeout=_SILENCE_SECONDS)) as connection:
            connection.request("GET", quote(f"/{key}"), headers={"accept-encoding": "identity"})
            # After its answer a server may close the connection, which then belongs to the answer.
            with closing(connection.getresponse()) as answer:
                self._check_status(key, answer)
                yield answer

    def _check_status(self, key: str, answer: HTTPResponse) -> None:
        if answer.status in _NOT_THERE:
            raise ObjectNotFound(self._host, key)
        if answer.status in _REDIRECTS:
            raise self._unreachable(key, f"redirects are not followed, as to {answer.getheader('location')}")
        if answer.status != _FOUND:
            raise self._unreachable(key, f"it answers {answer.status} {answer.reason}")

    def _unreachable(self, key: str, reason: str) -> StoreUnreachable:
        address = f"{self._scheme}://{self._host}/{key}"
        logger.warning("%s cannot be read: %s", address, reason, extra={"action": "store_unreachable"})
        return StoreUnreachable(f"{address} cannot be read at the moment; the server's log says why.")


class _Body(io.RawIOBase):
    """The bytes of an answer. One that ends before its announced length is an error, and not the end of a file."""

    def __init__(self, answer: HTTPResponse) -> None:
        self._answer = answer
        # None: the answer comes in chunks, whose last one says that it is the last.
        self._missing = answer.length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        count = self._answer.readinto(buffer)
        if self._missing is not None:
            self._missing -= count
            if not count and self._missing:
                raise ConnectionError(f"the answer ended {self._missing} bytes before its announced length")
        return count
