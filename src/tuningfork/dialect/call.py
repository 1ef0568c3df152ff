"""One call of a method, independent of HTTP or gRPC, and the ways to answer it.

A method returns a `Rendered`: a value of its dialect's wire format, such as `Typed` in Google's dialects. The dialect's
form writes it as bytes.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from tuningfork.dialect.method import Method
from tuningfork.domain.errors import TuningforkError
from tuningfork.domain.permission import Principal
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.wire.google.requests import RequestWords

Rendered = TypeVar("Rendered")
Yielded_co = TypeVar("Yielded_co", covariant=True)


def wants_everything(*_path: str) -> bool:
    """Whether a caller wants a part of the answer who did not say which parts they want."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodCall:
    """A call of a method by an authenticated caller.

    `path` holds the ids in the resource's name (`model`, `tuned_model`, `operation`, `permission`), `query` the
    method's own parameters as text, each with its last value; `repeated` has all values of those that were sent more
    than once. `body` is JSON. `version` is the called API version, such as `v1beta`; `client` is
    the name that the calling program sent, "" if it sent none, None if unknown. `wants` says whether the caller
    wants the part of the answer at a path of field names, in snake_case. `headers` are those of the HTTP request, by
    names in lower case; over gRPC there are none. `origin` is the scheme and the host by which the caller reached the
    server, such as `http://localhost:8000`; "" over gRPC.
    """

    principal: Principal
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    version: str
    client: str | None = None
    wants: Callable[..., bool] = wants_everything
    headers: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""
    repeated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def tuned_model(self) -> TunedModelId:
        """The id of the tuned model in the path."""
        return TunedModelId(self.path["tuned_model"])


class MessageStream(Protocol[Yielded_co]):
    """A stream of messages. Read it to its end or close it, even if no message was read."""

    def __aiter__(self) -> AsyncIterator[Yielded_co]:
        """The stream itself."""
        ...

    async def __anext__(self) -> Yielded_co:
        """The next message."""
        ...

    async def aclose(self) -> None:
        """Stop making messages, and release what the stream holds."""
        ...


class BodyStream(Protocol):
    """The body of a request while it arrives: pieces of bytes, unpacked if they were sent compressed.

    A piece is received when it is asked for; until then the sender has to wait. Asking for the next piece raises
    `BodyTooLarge` once the body has more bytes than its method takes, and ends the call if the caller has left.
    """

    @property
    def content_type(self) -> str:
        """The `Content-Type` as it was sent, with its parameters; "" if none was."""
        ...

    @property
    def length(self) -> int | None:
        """The bytes that the caller announced; None if they did not, or if the body is compressed."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The stream itself."""
        ...

    async def __anext__(self) -> bytes:
        """The next piece."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A file for the caller, or a part of it: then `status` is 206.

    `size` is in bytes; `pieces` is closed after the last byte, or when the caller leaves. `filename` is what the caller
    is to call the file; "": nothing is said. `headers` are further headers.
    """

    content_type: str
    filename: str
    size: int
    pieces: AsyncGenerator[bytes, None]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Direct(Generic[Rendered]):
    """Answered by a synchronous use case, which runs in a thread."""

    work: Callable[[MethodCall], Rendered]


@dataclass(frozen=True, slots=True)
class Awaited(Generic[Rendered]):
    """Answered by a coroutine, which is cancelled when the caller leaves."""

    work: Callable[[MethodCall], Coroutine[Any, Any, Rendered]]


@dataclass(frozen=True, slots=True)
class Streamed(Generic[Rendered]):
    """Answered message by message. A request that must be refused is refused before the stream begins."""

    begin: Callable[[MethodCall], Coroutine[Any, Any, MessageStream[Rendered]]]


@dataclass(frozen=True, slots=True)
class OneMessage(Generic[Rendered]):
    """A single message, from a method that can also answer with a stream."""

    message: Rendered


@dataclass(frozen=True, slots=True)
class StreamedIfAsked(Generic[Rendered]):
    """Answered with one message, or message by message, as the body of the request asks."""

    begin: Callable[[MethodCall], Coroutine[Any, Any, OneMessage[Rendered] | MessageStream[Rendered]]]


@dataclass(frozen=True, slots=True)
class Fed(Generic[Rendered]):
    """Answered by a coroutine, `take`, that reads the body piece by piece, so that it need not fit into memory.

    The call's own `body` is empty. `take` is cancelled when the caller leaves, and releases what it holds in its
    `finally`. `most_bytes` is the largest body, both as sent and as decompressed.
    """

    take: Callable[[MethodCall, BodyStream], Coroutine[Any, Any, Rendered]]
    most_bytes: int


@dataclass(frozen=True, slots=True)
class Downloaded:
    """Answered with a file that a synchronous use case opens; it runs in a thread."""

    open: Callable[[MethodCall], Download]


@dataclass(frozen=True, slots=True)
class DownloadedIfAsked(Generic[Rendered]):
    """Answered with a file or with one message, as the request asks, by a synchronous use case in a thread."""

    open: Callable[[MethodCall], Download | OneMessage[Rendered]]


Answered = (
    Direct[Rendered]
    | Awaited[Rendered]
    | Streamed[Rendered]
    | StreamedIfAsked[Rendered]
    | Fed[Rendered]
    | Downloaded
    | DownloadedIfAsked[Rendered]
)
"""How a method is answered."""


@dataclass(frozen=True, slots=True)
class Binding(Generic[Rendered]):
    """A method and the HTTP verb and path (below the dialect's prefix) that it is bound to.

    `counted_as` is the name by which `/metrics` counts its requests; "": the method's own name. Caches must not store
    an answer that is `secret`. An answer that is `tagged` has a tag of its content. A caller who asks again and
    sends the tag gets an empty answer if nothing has changed (RFC 9110, section 13.1.2).
    """

    verb: str
    path: str
    method: Method
    answered: Answered[Rendered]
    counted_as: str = ""
    secret: bool = False
    tagged: bool = False

    @property
    def name(self) -> str:
        """The name by which metrics count its requests, and the API's document describes it."""
        return self.counted_as or self.method.name.lower()


@contextmanager
def translated_errors(words: RequestWords) -> Iterator[None]:
    """Translate errors that are raised within the `with` block into those of the API's request message."""
    try:
        yield
    except TuningforkError as error:
        translated = words.translate(error)
        if translated is error:
            raise
        raise translated from error
