"""Uploads over a real connection: HTTP's own ways to send a body, and to break it off."""

import http.client
import json
import socket
import threading
from contextlib import contextmanager

import pytest
import uvicorn

from caller import caller_of
from patience import PATIENCE_SECONDS, wait_until
from toy_dialect import Toy, toy_dialect

PIECE = bytes(range(256)) * 256
MOST_BYTES = 512 * len(PIECE)


@pytest.fixture
def toy():
    return Toy(most_bytes=MOST_BYTES)


@pytest.fixture
def server(workshop, toy):
    caller = caller_of(workshop, further=(toy_dialect(toy),))
    with serving(caller.app) as port:
        yield port, {"authorization": f"Bearer {caller.key}"}


@contextmanager
def serving(app):
    """The port of a server of this application, for as long as the context lasts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: server.started)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def put(server, count, **headers):
    """Status and body of the answer to an upload of so many pieces; chunked, unless a length is given."""
    port, credential = server
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    named = {**credential, **{name.replace("_", "-"): value for name, value in headers.items()}}
    pieces = (PIECE for _ in range(count))
    connection.request(
        "PUT", "/toy/v1/blobs/x", body=pieces, headers=named, encode_chunked="content-length" not in named
    )
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    return answer.status, body


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_of_many_pieces_arrives_whole(server, announced):
    length = {"content_length": str(MOST_BYTES)} if announced else {"transfer_encoding": "chunked"}

    status, answer = put(server, MOST_BYTES // len(PIECE), **length)

    assert (status, answer["bytes"]) == (200, MOST_BYTES)
    assert answer["announced"] == (MOST_BYTES if announced else None)


@pytest.mark.parametrize("announced", [True, False])
def test_a_sender_of_too_much_reads_why_it_is_refused(server, toy, announced):
    count = MOST_BYTES // len(PIECE) + 1
    length = {"content_length": str(count * len(PIECE))} if announced else {"transfer_encoding": "chunked"}
    # What is announced is refused before the method sees a byte.
    toy.on_piece = pytest.fail if announced else len

    status, answer = put(server, count, **length)

    assert (status, answer["error"]["type"]) == (413, "BodyTooLarge")
    assert toy.open_uploads == 0


def test_a_sender_who_closes_the_connection_lets_go_of_what_was_held(server, toy):
    port, credential = server
    head = f"PUT /toy/v1/blobs/x HTTP/1.1\r\nHost: x\r\nAuthorization: {credential['authorization']}\r\n"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{head}Content-Length: {MOST_BYTES}\r\n\r\n".encode() + PIECE * 4)
        wait_until(lambda: toy.open_uploads == 1)

    wait_until(lambda: toy.open_uploads == 0)
