"""Bodies that a method takes while they arrive: never whole in memory, bounded, dropped when the caller leaves."""

import asyncio
import gzip
import json
import tracemalloc

import pytest

from caller import caller_of
from patience import PATIENCE_SECONDS
from toy_dialect import MOST_UPLOAD_BYTES, Toy, toy_dialect

PIECE = bytes(range(256)) * 256
LARGE_PIECES = 1_024  # 64 MiB of pieces of 64 KiB
BOUNDARY = "boundary-of-the-test"
HEAD = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="dé.jsonl"\r\n'
    "Content-Type: application/octet-stream\r\n\r\n"
).encode()
TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()
FORM_DATA = f"multipart/form-data; boundary={BOUNDARY}"


@pytest.fixture
def toy():
    return Toy()


@pytest.fixture
def caller(workshop, toy):
    return caller_of(workshop, further=(toy_dialect(toy),))


class Upload:
    """One upload at the level of ASGI. `taken` counts the pieces that the application has asked for."""

    def __init__(self, caller, pieces, *, verb="PUT", path="/toy/v1/blobs/x", leaves=False, **headers):
        named = {"authorization": f"Bearer {caller.key}", **headers}
        self._app = caller.app
        self._scope = {
            "type": "http",
            "method": verb,
            "scheme": "http",
            "path": path,
            "query_string": b"",
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()],
            "server": ("tuningfork.test", 80),
        }
        self._pieces = iter(pieces)
        self._leaves = leaves
        self._is_sent = False
        self.left = asyncio.Event()
        self.taken = 0
        self.sent = []

    def run(self):
        asyncio.run(self.answered())

    async def answered(self):
        await asyncio.wait_for(self._app(self._scope, self._receive, self._send), PATIENCE_SECONDS)

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def answer(self):
        return json.loads(b"".join(message.get("body", b"") for message in self.sent))

    async def _receive(self):
        piece = next(self._pieces, None)
        if piece is not None:
            self.taken += 1
            return {"type": "http.request", "body": piece, "more_body": True}
        if not self._leaves and not self._is_sent:
            self._is_sent = True
            return {"type": "http.request", "body": b"", "more_body": False}
        if not self._leaves:
            await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        self.sent.append(message)


def multipart(caller, pieces, **options):
    return Upload(caller, pieces, verb="POST", path="/toy/v1/files", content_type=FORM_DATA, **options)


def test_a_raw_body_passes_in_bounded_memory(caller):
    upload = Upload(caller, (PIECE for _ in range(LARGE_PIECES)), content_type="application/octet-stream")

    peak = peak_of(upload.run)

    assert upload.answer["bytes"] == len(PIECE) * LARGE_PIECES
    assert upload.answer["type"] == "application/octet-stream"
    assert peak < 4 * 1024 * 1024


def test_a_multipart_body_passes_in_bounded_memory(caller):
    upload = multipart(caller, (HEAD, *(PIECE for _ in range(LARGE_PIECES)), TAIL))

    peak = peak_of(upload.run)

    file = {"filename": "dé.jsonl", "bytes": len(PIECE) * LARGE_PIECES}
    assert upload.answer == {"purpose": "fine-tune", "file": file}
    assert peak < 4 * 1024 * 1024


def peak_of(work):
    """The most bytes that Python held at a time during the work, beyond those before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_piece_is_received_when_the_one_before_has_been_dealt_with(caller, toy):
    ahead, dealt_with = [], []
    upload = Upload(caller, (PIECE for _ in range(50)))

    def deal_with(piece):
        dealt_with.append(piece)
        ahead.append(upload.taken - len(dealt_with))

    toy.on_piece = deal_with
    upload.run()

    assert len(dealt_with) == 50
    assert max(ahead) == 0


def test_the_length_is_what_the_caller_announced(caller):
    upload = Upload(caller, [b"abc"], content_length="3")
    upload.run()
    assert upload.answer == {"bytes": 3, "type": "", "announced": 3}

    upload = Upload(caller, [b"abc"])
    upload.run()
    assert upload.answer["announced"] is None


def test_a_body_that_announces_too_much_is_refused_before_it_is_taken(caller, toy):
    toy.on_piece = pytest.fail
    upload = Upload(caller, [PIECE] * 3, content_length=str(MOST_UPLOAD_BYTES + 1))

    upload.run()

    assert upload.status == 413
    assert upload.answer["error"]["message"] == f"Request payload size exceeds the limit: {MOST_UPLOAD_BYTES} bytes."
    assert upload.taken == 3


def test_a_body_that_grows_too_large_is_refused_and_what_was_held_is_let_go(caller, toy):
    upload = Upload(caller, (PIECE for _ in range(MOST_UPLOAD_BYTES // len(PIECE) + 1)))

    upload.run()

    assert (upload.status, upload.answer["error"]["type"]) == (413, "BodyTooLarge")
    assert toy.open_uploads == 0


def test_a_packed_body_is_unpacked_in_bounded_memory(caller):
    packed = gzip.compress(PIECE * LARGE_PIECES)
    upload = Upload(caller, pieces_of(packed), content_encoding="gzip")

    peak = peak_of(upload.run)

    assert upload.answer["bytes"] == len(PIECE) * LARGE_PIECES
    assert peak < 4 * 1024 * 1024


def test_a_small_body_does_not_unpack_into_one_over_the_limit(caller, toy):
    upload = Upload(caller, pieces_of(gzip.compress(bytes(MOST_UPLOAD_BYTES + 1))), content_encoding="gzip")

    upload.run()

    assert (upload.status, toy.open_uploads) == (413, 0)


@pytest.mark.parametrize(
    ("encoding", "body", "reason"),
    [
        ("br", b"abc", 'Content-Encoding "br" is not supported'),
        ("gzip", b"abc", 'The body is not what Content-Encoding "gzip" says'),
        ("gzip", gzip.compress(PIECE)[:-9], "The body ends in the middle of its gzip data."),
    ],
)
def test_a_body_that_is_packed_wrongly_is_refused(caller, toy, encoding, body, reason):
    upload = Upload(caller, [body], content_encoding=encoding)

    upload.run()

    assert upload.status == 400
    assert reason in upload.answer["error"]["message"]
    assert toy.open_uploads == 0


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        ([HEAD, PIECE], "The multipart body is malformed: it ends before its last boundary."),
        ([b"no boundary at all"], "The multipart body is malformed: Expected boundary character"),
        ([b"--" + BOUNDARY.encode() + b"\r\nno header\r\n\r\n"], "The multipart body is malformed: "),
        ([], "The multipart body is malformed: it ends before its last boundary."),
    ],
)
def test_a_malformed_multipart_body_is_refused_with_the_reason(caller, toy, pieces, reason):
    upload = multipart(caller, pieces)

    upload.run()

    assert upload.status == 400
    assert upload.answer["error"]["message"].startswith(reason)
    assert toy.open_uploads == 0


def test_a_body_that_does_not_say_its_boundary_is_refused(caller):
    upload = Upload(caller, [HEAD, TAIL], verb="POST", path="/toy/v1/files", content_type="application/json")

    upload.run()

    assert upload.status == 400
    assert "boundary" in upload.answer["error"]["message"]


@pytest.mark.parametrize("kind", [Upload, multipart])
def test_a_caller_who_leaves_while_sending_lets_go_of_what_was_held(caller, toy, caplog, kind):
    held = []
    toy.on_piece = lambda _: held.append(toy.open_uploads)
    upload = kind(caller, [HEAD, PIECE, PIECE], leaves=True)

    upload.run()

    assert max(held) == 1
    assert toy.open_uploads == 0
    assert upload.sent == []
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_caller_who_leaves_after_the_body_ends_the_work_on_it(caller, toy):
    upload = Upload(caller, [PIECE])
    toy.finish = lambda: wait_for_ever(upload.left)

    upload.run()

    assert toy.open_uploads == 0


async def wait_for_ever(left):
    left.set()
    await asyncio.Event().wait()


def test_a_stranger_sends_no_byte_to_the_method(caller, toy):
    toy.on_piece = pytest.fail
    upload = Upload(caller, [PIECE] * 3, authorization="Bearer nonsense")

    upload.run()

    assert upload.answer["error"]["type"] == "ApiKeyNotValid"
    assert upload.taken == 3


def pieces_of(body):
    return [body[start : start + len(PIECE)] for start in range(0, len(body), len(PIECE))]
