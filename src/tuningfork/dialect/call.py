"""One call of a method, freed from what carried it, and the three ways to answer it."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.method import Method
from tuningfork.domain.permission import Principal
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.wire.errors import Relocation
from tuningfork.wire.proto_json.encode import Typed


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodCall:
    """A call from somebody known.

    `path` holds the ids in the resource's name (`model`, `tuned_model`, `operation`, `permission`), `query` the
    method's own parameters as text, `body` JSON. `version` is the API version that was asked, such as `v1beta`;
    `client` what the program calls itself in `X-Goog-Api-Client`, "" if it does not, None where no carrier told.
    """

    principal: Principal
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    version: str = "v1beta"
    client: str | None = None

    @property
    def tuned_model(self) -> TunedModelId:
        """The id of the tuned model that is named."""
        return TunedModelId(self.path["tuned_model"])

    @property
    def resource(self) -> str:
        """The name of the model that is asked: `models/x` or `tunedModels/x`."""
        return f"models/{self.path['model']}" if "model" in self.path else f"tunedModels/{self.path['tuned_model']}"


class MessageStream(Protocol):
    """Messages that come one by one; to be read to the end or closed, also when none was read."""

    def __aiter__(self) -> AsyncIterator[Typed]:
        """The stream itself."""
        ...

    async def __anext__(self) -> Typed:
        """The next message."""
        ...

    async def aclose(self) -> None:
        """Let go of what makes the messages."""
        ...


@dataclass(frozen=True, slots=True)
class Direct:
    """Answered by a synchronous use case, which belongs into a thread."""

    work: Callable[[MethodCall], Typed]


@dataclass(frozen=True, slots=True)
class Awaited:
    """Answered when something asynchronous is done; cancelled when the caller leaves."""

    work: Callable[[MethodCall], Coroutine[Any, Any, Typed]]


@dataclass(frozen=True, slots=True)
class Streamed:
    """Answered message by message. What can be refused is refused before the stream is handed over."""

    begin: Callable[[MethodCall], Coroutine[Any, Any, MessageStream]]


@dataclass(frozen=True, slots=True)
class Binding:
    """A method and the HTTP verb and path (below the version) that it is bound to."""

    verb: str
    path: str
    method: Method
    answered: Direct | Awaited | Streamed


@contextmanager
def relocating(relocation: Relocation) -> Iterator[None]:
    """Faults that a use case finds in a request are told with the paths of the wire."""
    try:
        yield
    except InvalidArgument as error:
        relocated = relocation.apply(error)
        if relocated is error:
            raise
        raise relocated from error
