"""The form of Google's APIs, for every dialect that has their messages."""

from collections.abc import Mapping
from dataclasses import dataclass

from tuningfork.api.google.credentials import find_credential
from tuningfork.api.google.errors import error_answer
from tuningfork.api.google.method_override import meant_verb
from tuningfork.api.google.options import AnswerOptions, method_parameters
from tuningfork.api.google.streaming import stream
from tuningfork.dialect.call import MessageStream
from tuningfork.dialect.form import RequestHead, StreamedAnswer, WholeAnswer
from tuningfork.dialect.gate import SentCredential
from tuningfork.domain.errors import TuningforkError
from tuningfork.wire.google.errors import ErrorWords
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.proto_json.text import MAX_PAYLOAD_BYTES


@dataclass(frozen=True, slots=True)
class GoogleWriter:
    """Writes messages as the system parameters of a request ask for."""

    options: AnswerOptions
    words: ErrorWords

    def check_one_message(self) -> None:
        """Check that the request accepts an answer of one message.

        Raises:
            InvalidArgument: a stream was asked for.

        """
        self.options.check_one_message()

    def wants(self, *path: str) -> bool:
        """Whether the field mask of the request lets this part through."""
        return self.options.mask is None or self.options.mask.wants(path)

    def whole(self, message: Typed) -> WholeAnswer:
        """The answer that is one message, as JSON."""
        return self.options.whole(message)

    def streamed(self, messages: MessageStream[Typed]) -> StreamedAnswer:
        """The answer of many messages: server-sent events or a JSON array. An error becomes the last message."""
        return stream(messages, self.options, self.words)


@dataclass(frozen=True, slots=True)
class GoogleForm:
    """How Google's APIs use HTTP. `words` has the texts of one API's errors."""

    words: ErrorWords

    @property
    def most_body_bytes(self) -> int:
        """The largest body of a method whose request is one message."""
        return MAX_PAYLOAD_BYTES

    def verb(self, verb: str, headers: Mapping[str, str]) -> str:
        """The verb of `X-HTTP-Method-Override`, if a POST has one."""
        return meant_verb(verb, headers)

    def credential(self, head: RequestHead) -> SentCredential | None:
        """A key or a token, from a header or the query."""
        return find_credential(head)

    def client(self, head: RequestHead) -> str:
        """The program's name in `X-Goog-Api-Client`."""
        return head.headers.get("x-goog-api-client", "")

    def parameters(self, head: RequestHead) -> Mapping[str, str]:
        """The query parameters that are not system parameters."""
        return method_parameters(head)

    def writer(self, head: RequestHead) -> GoogleWriter:
        """The writer of the answer, according to the system parameters.

        Raises:
            InvalidArgument: `alt` is not supported, or the field mask is invalid.

        """
        return GoogleWriter(AnswerOptions.of(head), self.words)

    def error(
        self, error: TuningforkError, head: RequestHead, *, version: str | None = None, status: int | None = None
    ) -> WholeAnswer:
        """The error as google.rpc.Status; see `Form.error`."""
        return error_answer(error, head, self.words, version=version, status=status)
