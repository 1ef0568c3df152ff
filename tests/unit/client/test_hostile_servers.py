"""Whatever a server answers, the client ends within bounds of bytes, pages and time, and with a sentence."""

import gzip
import itertools
import json
import socket
import threading
import time
from contextlib import contextmanager

import httpx
import pytest

from patience import PATIENCE_SECONDS
from tuningfork.client import Client, ServerUnreachable, ServiceRefusal, TrainingFileError, UnexpectedAnswer
from tuningfork.client.terminal import harmless
from tuningfork.client.training_files import download
from tuningfork.client.training_files.bounds import Bound

URL = "http://server.test:8000"
MODEL = {"name": "tunedModels/m", "baseModel": "models/b", "state": "ACTIVE", "createTime": "2024-03-14T15:09:04Z"}
OPERATION = {
    "name": "tunedModels/m/operations/o",
    "metadata": {
        "tunedModel": "tunedModels/m",
        "totalSteps": 2,
        "snapshots": [{"step": 1, "epoch": 1, "meanLoss": 1.5, "computeTime": "2024-03-14T15:09:04Z"}],
    },
}


def client(answer):
    """A client whose server answers so; `answer` is called with the request if it can be."""
    respond = answer if callable(answer) else lambda _: answer
    return Client(URL, None, transport=httpx.MockTransport(respond))


def endless(piece=b"x" * 2**20):
    return itertools.repeat(piece)


def test_an_answer_without_an_end_is_read_no_further_than_the_bound():
    taken = []

    def pieces():
        for piece in endless():
            taken.append(1)
            yield piece

    for status in (200, 500):
        taken.clear()
        with pytest.raises(UnexpectedAnswer, match="answers with more than 67,108,864 bytes"):
            client(httpx.Response(status, content=pieces())).tuned_models()
        assert len(taken) == 65


def test_a_stream_without_an_end_or_without_a_line_is_read_no_further_than_the_bound():
    with pytest.raises(UnexpectedAnswer, match="an event of more than 8,388,608 bytes"):
        list(client(httpx.Response(200, content=endless())).stream("models/m", "a"))
    with pytest.raises(UnexpectedAnswer, match="more than 67,108,864 bytes"):
        list(client(httpx.Response(200, content=endless(b": nothing\n" * 100_000))).stream("models/m", "a"))


@pytest.mark.parametrize("tokens", [itertools.repeat("again"), map(str, itertools.count())], ids=["one", "ever new"])
def test_a_list_without_an_end_is_not_followed(tokens):
    asked = []

    def page(_):
        asked.append(1)
        return httpx.Response(200, json={"tunedModels": [], "nextPageToken": next(tokens)})

    with pytest.raises(UnexpectedAnswer, match="its list of tunedModels has no end"):
        client(page).tuned_models()
    assert len(asked) <= 1_001


@pytest.mark.parametrize("packing", ["gzip", "deflate", "br", "x" * 1_000])
@pytest.mark.parametrize(
    "content", [gzip.compress(b"{}"), gzip.compress(bytes(10**6)), b"\x1f\x8b broken"], ids=["small", "large", "broken"]
)
def test_a_packed_answer_is_not_unpacked(packing, content):
    def answer(request):
        assert request.headers["accept-encoding"] == "identity"
        # As it comes from the network: httpx would unpack what it is made of.
        return httpx.Response(200, headers={"content-encoding": packing}, stream=httpx.ByteStream(content))

    with pytest.raises(UnexpectedAnswer, match="its answer is packed"):
        client(answer).tuned_models()


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"a":' * 100_000, b'{"a": ' + b"9" * 10_000 + b"}", b"\xff", b"", b"null", b'"\\ud800"', b"{"],
)
@pytest.mark.parametrize("status", [200, 404])
def test_an_answer_that_is_no_object_is_told_in_a_sentence(body, status):
    with pytest.raises(UnexpectedAnswer, match="answers, but not like a Tuningfork server"):
        client(httpx.Response(status, content=body)).tuned_model("tunedModels/m")


@pytest.mark.parametrize(
    "name",
    ["tunedModels/\x1b[2J", "tunedModels/a b", "tunedModels/\u202e", "tunedModels/\ud800", "x" * 500, 7, None, ["a"]],
)
@pytest.mark.parametrize("field", ["name", "baseModel", "state"])
def test_a_name_that_would_disturb_a_terminal_is_no_name(name, field):
    body = json.dumps({**MODEL, field: name}).encode()

    with pytest.raises(UnexpectedAnswer):
        client(httpx.Response(200, content=body)).tuned_model("tunedModels/m")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("displayName", wrong) for wrong in (5, None, [], {})),
        *(("createTime", wrong) for wrong in (5, "yesterday", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z")),
        *(("tunedModelSource", wrong) for wrong in (5, "x", [])),
    ],
)
def test_a_model_with_a_value_of_another_kind_is_told_in_a_sentence(field, value):
    body = {**{name: MODEL[name] for name in MODEL if name != "baseModel"}, field: value}

    with pytest.raises(UnexpectedAnswer):
        client(httpx.Response(200, json=body)).tuned_model("tunedModels/m")


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": 5},
        {"metadata": {"tunedModel": "\x1b[2J"}},
        {"metadata": {"tunedModel": "tunedModels/m", "totalSteps": "many"}},
        {"metadata": {"tunedModel": "tunedModels/m", "totalSteps": 10**400}},
        {"metadata": {"tunedModel": "tunedModels/m", "snapshots": "many"}},
        {"metadata": {"tunedModel": "tunedModels/m", "snapshots": [5]}},
        {"metadata": {"tunedModel": "tunedModels/m", "snapshots": [{"step": "1"}]}},
        {"metadata": {"tunedModel": "tunedModels/m", "snapshots": [{"step": 1, "meanLoss": [1]}]}},
        {"done": "yes"},
        {"error": "failed"},
        {"error": {"message": 5}},
    ],
)
def test_an_operation_with_a_value_of_another_kind_is_told_in_a_sentence(change):
    with pytest.raises(UnexpectedAnswer):
        client(httpx.Response(200, content=json.dumps({**OPERATION, **change}))).operation("tunedModels/m/operations/o")


@pytest.mark.parametrize(
    "error", [5, "no", {"message": 5}, {"message": "no", "details": 5}, {"message": "no", "details": ["x"]}]
)
def test_an_error_of_another_form_is_told_in_a_sentence(error):
    with pytest.raises(UnexpectedAnswer):
        client(httpx.Response(400, json={"error": error})).tuned_models()


def test_an_error_of_the_dialect_stays_one():
    with pytest.raises(ServiceRefusal, match=r"^no$"):
        client(httpx.Response(400, json={"error": {"message": "no", "status": "INVALID_ARGUMENT"}})).tuned_models()


@pytest.mark.parametrize("parts", [[{"text": 5}], ["x"], 5, [None]])
def test_a_text_of_another_kind_is_told_in_a_sentence(parts):
    body = {"candidates": [{"content": {"parts": parts}}]}

    with pytest.raises(UnexpectedAnswer):
        client(httpx.Response(200, json=body)).generate("models/m", "a")


def test_half_a_character_is_shown_by_its_number():
    assert harmless("a\ud800\x1b[2J") == "a<U+D800><U+001B>[2J"


# Time


@contextmanager
def dripping(beginning, drop, every_seconds=0.05):
    """A server that sends a beginning and then a drop again and again. Gives its port."""
    stop = threading.Event()

    def serve(listener):
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.recv(65_536)
                    connection.sendall(beginning)
                    while not stop.wait(every_seconds):
                        connection.sendall(drop)
                except OSError:
                    continue

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        thread = threading.Thread(target=_until, args=(stop, serve, listener))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stop.set()
            thread.join()


def _until(stop, serve, listener):
    while not stop.is_set():
        serve(listener)


DRIPS = {
    "headers": (b"HTTP/1.1 200 OK\r\n", b"x-a: b\r\n"),
    "body": (b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", b" "),
    "nothing": (b"", b""),
}


@pytest.mark.parametrize(("beginning", "drop"), DRIPS.values(), ids=DRIPS)
def test_a_server_that_drips_is_given_up_at_the_deadline(beginning, drop):
    with dripping(beginning, drop) as port, Client(f"http://127.0.0.1:{port}", None, answer_seconds=0.6) as asking:
        began = time.monotonic()
        with pytest.raises(ServerUnreachable, match="no whole answer within 1 seconds"):
            asking.tuned_models()
        assert 0.4 < time.monotonic() - began < PATIENCE_SECONDS / 2


class Unencrypted(httpx.BaseTransport):
    """Takes https requests to a server that speaks plain HTTP."""

    def __init__(self, port):
        self._port = port
        self._network = httpx.HTTPTransport()

    def handle_request(self, request):
        target = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port)
        plain = httpx.Request(request.method, target, headers=request.headers, extensions=request.extensions)
        return self._network.handle_request(plain)

    def close(self):
        self._network.close()


@pytest.mark.parametrize(("beginning", "drop"), DRIPS.values(), ids=DRIPS)
def test_a_download_that_drips_is_given_up_at_the_deadline(beginning, drop):
    with dripping(beginning, drop) as port:
        began = time.monotonic()
        with pytest.raises(TrainingFileError, match=r"was not fetched within 0\.6 seconds"):
            download.fetch(
                "https://files.example.com/p.csv", Bound(max_bytes=10**7), transport=Unencrypted(port), seconds=0.6
            )
        assert 0.4 < time.monotonic() - began < PATIENCE_SECONDS / 2
