"""A dialect as one object that a server mounts: its path prefixes, its methods, and its form, its use of HTTP.

Represents HTTP's requests and answers by plain values; does not know which library serves HTTP, nor any single API.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from tuningfork.dialect.call import Binding, MessageStream, Rendered
from tuningfork.dialect.description import Description
from tuningfork.dialect.gate import SentCredential
from tuningfork.domain.errors import InvalidArgument, TuningforkError

Written_contra = TypeVar("Written_contra", contravariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    """An HTTP request without its body.

    If a query parameter is repeated, `query` has its last value, and `repeated` all of them in their order. `headers`
    is searched by names in lower case. `scheme` is `http` or `https`.
    """

    verb: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    scheme: str = "http"
    repeated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """The scheme and the host by which the caller reached the server; "" if the caller named no host."""
        host = self.headers.get("host", "")
        return f"{self.scheme}://{host}" if host else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeAnswer:
    """An answer that is written at once. `headers` are further headers, without content type and length."""

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedAnswer:
    """An answer of status 200 that is sent piece by piece; `pieces` is closed at its end, or when the caller leaves."""

    content_type: str
    pieces: AsyncGenerator[bytes, None]
    headers: Mapping[str, str]


class BodyTooLarge(InvalidArgument):
    """The body of a request has more than `most_bytes`, as it was sent or unpacked."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(f"Request payload size exceeds the limit: {most_bytes} bytes.")
        self.most_bytes = most_bytes

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.most_bytes,)


class Writer(Protocol[Written_contra]):
    """Writes the answer to one request in the way that the request asks for."""

    def check_one_message(self) -> None:
        """Check that the request accepts an answer of one message.

        Raises:
            InvalidArgument: a stream was asked for.

        """
        ...

    def wants(self, *path: str) -> bool:
        """Whether the request asks for the part of the answer at this path of field names."""
        ...

    def whole(self, message: Written_contra) -> WholeAnswer:
        """The answer that is one message."""
        ...

    def streamed(self, messages: MessageStream[Written_contra]) -> StreamedAnswer:
        """The answer of many messages. It closes `messages`, and writes an error among them into the answer."""
        ...


class Form(Protocol[Written_contra]):
    """How an API uses HTTP: where credentials and parameters are, and how answers, errors and streams are written."""

    @property
    def most_body_bytes(self) -> int:
        """The largest body that is read into memory for a method of this form."""
        ...

    def verb(self, verb: str, headers: Mapping[str, str]) -> str:
        """The HTTP verb to use instead of the one that was sent with these headers."""
        ...

    def credential(self, head: RequestHead) -> SentCredential | None:
        """The credential that the caller sent; None if there is none."""
        ...

    def client(self, head: RequestHead) -> str:
        """The name that the calling program sent; "" if it sent none."""
        ...

    def parameters(self, head: RequestHead) -> Mapping[str, str]:
        """The query parameters that belong to the method, without those that belong to the form."""
        ...

    def writer(self, head: RequestHead) -> Writer[Written_contra]:
        """The writer of the answer.

        Raises:
            InvalidArgument: the request asks for an unknown way of writing.

        """
        ...

    def error(
        self, error: TuningforkError, head: RequestHead, *, version: str | None = None, status: int | None = None
    ) -> WholeAnswer:
        """The answer for an error.

        Args:
            error: the error.
            head: the request.
            version: the called API version; None: no method of the dialect was called.
            status: the HTTP status, if it is not the usual one of the error's code (405).

        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect(Generic[Rendered]):
    """The methods of an API, below each of its prefixes, in its form.

    `prefixes` maps paths such as `/v1beta` to the API version that errors below this path name. Every method is served
    below each prefix. `describe` tells what the methods take and give; None: nobody has written it down. With
    `encoded_paths`, a path is split at its slashes before it is percent-decoded, and ids in it reach the methods
    encoded, so that they may have slashes.
    """

    prefixes: Mapping[str, str]
    bindings: tuple[Binding[Rendered], ...]
    form: Form[Rendered]
    describe: Callable[[], Description] | None = None
    encoded_paths: bool = False
