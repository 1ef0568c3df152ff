"""The form of storage/v1."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from tuningfork.api.google.credentials import find_credential
from tuningfork.api.google.method_override import meant_verb
from tuningfork.api.google.options import CREDENTIAL_PARAMETERS, JSON_TYPE
from tuningfork.buckets.errors import RangeNotSatisfiable
from tuningfork.dialect.call import MessageStream
from tuningfork.dialect.form import BodyTooLarge, RequestHead, StreamedAnswer, WholeAnswer
from tuningfork.dialect.gate import SentCredential
from tuningfork.dialect.storage.answers import StorageAnswer
from tuningfork.domain.errors import Busy, QuotaExceeded, TokenNotValid, TuningforkError, Unimplemented
from tuningfork.wire.storage.errors import TOO_LARGE, render_error, status_of

_MOST_BODY_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class StorageWriter:
    """Writes answers. Whatever part of an answer is asked for (`fields`), the whole one is written."""

    def check_one_message(self) -> None:
        """Every request accepts an answer of one message."""

    def wants(self, *_path: str) -> bool:
        """Every part is wanted."""
        return True

    def whole(self, message: StorageAnswer) -> WholeAnswer:
        """The answer with its status and headers; as JSON if it has a body."""
        body = b"" if message.body is None else json.dumps(message.body, ensure_ascii=False).encode("utf-8", "replace")
        return WholeAnswer(status=message.status, content_type=JSON_TYPE, body=body, headers=message.headers)

    def streamed(self, messages: MessageStream[StorageAnswer]) -> StreamedAnswer:  # noqa: ARG002 - there are none
        """No method answers with a stream of messages."""
        raise Unimplemented("This API has no streams of messages.")


@dataclass(frozen=True, slots=True)
class StorageForm:
    """How storage/v1 uses HTTP."""

    @property
    def most_body_bytes(self) -> int:
        """The largest JSON."""
        return _MOST_BODY_BYTES

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
        """The query without credentials."""
        return {name: value for name, value in head.query.items() if name not in CREDENTIAL_PARAMETERS}

    def writer(self, head: RequestHead) -> StorageWriter:  # noqa: ARG002 - one way for all
        """The writer of answers."""
        return StorageWriter()

    def error(
        self,
        error: TuningforkError,
        head: RequestHead,  # noqa: ARG002 - one way for all
        *,
        version: str | None = None,  # noqa: ARG002 - named in no message
        status: int | None = None,
    ) -> WholeAnswer:
        """The error as JSON; see `Form.error`."""
        if isinstance(error, BodyTooLarge):
            status = TOO_LARGE
        status = status or status_of(error)
        body = json.dumps(render_error(error, status), ensure_ascii=False).encode("utf-8", "replace")
        return WholeAnswer(status=status, content_type=JSON_TYPE, body=body, headers=_headers(error))


def _headers(error: TuningforkError) -> Mapping[str, str]:
    match error:
        case TokenNotValid():
            return {"www-authenticate": 'Bearer realm="https://accounts.google.com/", error="invalid_token"'}
        case QuotaExceeded(retry_seconds=seconds) | Busy(retry_seconds=seconds):
            return {"retry-after": str(seconds)}
        case RangeNotSatisfiable(size=size):
            return {"content-range": f"bytes */{size}"}
    return {}


STORAGE_FORM = StorageForm()
