"""A second dialect with a form of its own, made as one would make it for another API: bearer keys, errors with a type,
events that end with `[DONE]`, and files that are uploaded, raw and multipart. Its messages are plain dicts.
"""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from tuningfork.dialect.call import Awaited, Binding, BodyStream, Fed, MethodCall, OneMessage, StreamedIfAsked
from tuningfork.dialect.faults import public_error
from tuningfork.dialect.form import BodyTooLarge, Dialect, StreamedAnswer, WholeAnswer
from tuningfork.dialect.gate import SentCredential, SentCredentialKind
from tuningfork.dialect.method import Asks, Method
from tuningfork.dialect.multipart import Multipart
from tuningfork.domain.errors import InvalidArgument

MOST_UPLOAD_BYTES = 128 * 1024 * 1024
JSON = "application/json"


class ToyMethod(Method):
    CHAT = Asks(full_name="toy.Chat", scopes=(), action=None)
    UPLOAD = Asks(full_name="toy.Upload", scopes=(), action=None)
    STORE = Asks(full_name="toy.Store", scopes=(), action=None)
    FAIL = Asks(full_name="toy.Fail", scopes=(), action=None)


class ToyWriter:
    def check_one_message(self):
        pass

    def wants(self, *_path):
        return True

    def whole(self, message):
        return WholeAnswer(status=200, content_type=JSON, body=json.dumps(message).encode(), headers={})

    def streamed(self, messages):
        return StreamedAnswer(content_type="text/event-stream", pieces=self._events(messages), headers={})

    async def _events(self, messages):
        try:
            async for message in messages:
                yield event(message)
        except Exception as error:  # noqa: BLE001 - logged and told by `told`
            yield event(error_body(public_error(error)))
        finally:
            await messages.aclose()
        yield b"data: [DONE]\n\n"


class ToyForm:
    most_body_bytes = 1024

    def verb(self, verb, _headers):
        return verb

    def credential(self, head):
        scheme, _, key = head.headers.get("authorization", "").partition(" ")
        return SentCredential(SentCredentialKind.KEY, key) if scheme == "Bearer" else None

    def client(self, head):
        return head.headers.get("user-agent", "")

    def parameters(self, head):
        return dict(head.query)

    def writer(self, _head):
        return ToyWriter()

    def error(self, error, _head, *, version=None, status=None):
        if isinstance(error, BodyTooLarge):
            status = 413
        status = status or (400 if isinstance(error, InvalidArgument) else 401)
        return WholeAnswer(status=status, content_type=JSON, body=json.dumps(error_body(error)).encode(), headers={})


def event(message):
    return f"data: {json.dumps(message)}\n\n".encode()


def error_body(error):
    return {"error": {"message": error.message, "type": type(error).__name__, "param": None, "code": None}}


class Words:
    """The words of a text, one message each; breaks at the word `break`."""

    def __init__(self, text):
        self._words = iter(text.split())
        self.closed = False

    def __aiter__(self):
        return self

    async def __anext__(self):
        word = next(self._words, None)
        if word is None:
            raise StopAsyncIteration
        if word == "break":
            raise InvalidArgument("The word is not allowed.")
        return {"word": word}

    async def aclose(self):
        self.closed = True


@dataclass(slots=True)
class Toy:
    """What the methods do. `open_uploads` counts those that hold something; `on_piece` is called with each piece."""

    most_bytes: int = MOST_UPLOAD_BYTES
    open_uploads: int = 0
    on_piece: Callable[[bytes], Any] = len
    finish: Callable[[], Any] = field(default=lambda: None)

    async def chat(self, call):
        asked = json.loads(call.body)
        return Words(asked["text"]) if asked.get("stream") else OneMessage({"text": asked["text"]})

    async def fail(self, _call):
        raise ZeroDivisionError("secret")

    async def store(self, _call: MethodCall, body: BodyStream):
        return {"bytes": await self._taken(body), "type": body.content_type, "announced": body.length}

    async def upload(self, _call: MethodCall, body: BodyStream):
        found = {}
        async for part in Multipart(body):
            if part.filename is None:
                found[part.name] = await part.text()
            else:
                found[part.name] = {"filename": part.filename, "bytes": await self._taken(part)}
        return found

    async def _taken(self, pieces: AsyncIterator[bytes]):
        self.open_uploads += 1
        size = 0
        try:
            async for piece in pieces:
                size += len(piece)
                self.on_piece(piece)
            if (finishing := self.finish()) is not None:
                await finishing
        finally:
            self.open_uploads -= 1
        return size


def toy_dialect(toy):
    return Dialect(
        prefixes={"/toy/v1": "v1"},
        bindings=(
            Binding("POST", "/chat", ToyMethod.CHAT, StreamedIfAsked(toy.chat)),
            Binding("POST", "/fail", ToyMethod.FAIL, Awaited(toy.fail)),
            Binding("POST", "/files", ToyMethod.UPLOAD, Fed(toy.upload, toy.most_bytes)),
            Binding("PUT", "/blobs/{name:id}", ToyMethod.STORE, Fed(toy.store, toy.most_bytes)),
        ),
        form=ToyForm(),
    )
