"""Files over http, from a server on this machine, below the addresses that an operator allows."""

import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tuningfork.buckets.buckets import Buckets
from tuningfork.buckets.configuration import BucketSettings, parse_web_root
from tuningfork.buckets.errors import InvalidUri, ObjectNotFound, StoreUnreachable
from tuningfork.domain.permission import LOCAL_PRINCIPAL

LINES = [f"line {number}".encode() for number in range(50_000)]


class Pages(BaseHTTPRequestHandler):
    """Files below `/sets`, and answers of other kinds."""

    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers)))
        content = b"\n".join(LINES)
        match self.path:
            case "/sets/d/t%20%C3%A9.jsonl" | "/secret":
                self._answer(200, content)
            case "/sets/chunked":
                self._chunked(content)
            case "/sets/cut":
                self._answer(200, content[:-1], length=len(content))
            case "/sets/moved":
                self._answer(302, b"", location="/secret")
            case "/sets/broken":
                self._answer(500, b"")
            case "/sets/no-http":
                self.wfile.write(b"nonsense\r\n")
            case _:
                self._answer(404, b"")

    def _answer(self, status, content, *, length=None, **headers):
        self.send_response(status)
        self.send_header("content-length", str(len(content) if length is None else length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _chunked(self, content):
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content))

    def log_message(self, *_args):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def address(server):
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def buckets(address, tmp_path):
    return Buckets(BucketSettings(root=tmp_path, web_roots=(parse_web_root(f"{address}/sets"),)))


def lines(buckets, uri):
    return list(buckets.lines(LOCAL_PRINCIPAL, uri))


@pytest.mark.parametrize("name", ["d/t é.jsonl", "chunked"])
def test_a_file_is_read_in_lines(buckets, address, server, name):
    assert lines(buckets, f"{address}/sets/{name}") == LINES
    [(_, headers)] = server.asked
    assert not {name.lower() for name in headers} & {"authorization", "cookie", "referer"}


def test_a_file_is_looked_at_before_a_job_is_accepted(buckets, address):
    found = buckets.check_for(LOCAL_PRINCIPAL, f"{address}/sets/d/t é.jsonl")

    assert found.size == len(b"\n".join(LINES))


def test_what_is_not_there_is_not_found(buckets, address):
    with pytest.raises(ObjectNotFound):
        buckets.check(f"{address}/sets/none")


@pytest.mark.parametrize("name", ["cut", "moved", "broken", "no-http"])
def test_what_is_not_answered_whole_is_an_error_without_the_servers_words(buckets, address, server, name, caplog):
    with pytest.raises(StoreUnreachable, match="cannot be read at the moment") as failed:
        lines(buckets, f"{address}/sets/{name}")

    assert failed.value.message.startswith(f"{address}/sets/{name} cannot")
    assert f"{address}/sets/{name}" in caplog.text
    assert "/secret" not in [path for path, _ in server.asked]


def test_a_server_that_is_away_is_an_error(buckets, address, server):
    server.shutdown()
    server.server_close()

    with pytest.raises(StoreUnreachable):
        buckets.check(f"{address}/sets/t.jsonl")


@pytest.mark.parametrize(
    "path", ["secret", "sets", "sets-too/t.jsonl", "sets/../secret", "sets/%2e%2e/secret", "sets/t.jsonl?x", "sets/t#x"]
)
def test_nothing_else_is_asked_for(buckets, address, server, path):
    with pytest.raises(InvalidUri):
        buckets.check(f"{address}/{path}")
    assert server.asked == []


@pytest.mark.parametrize(
    "other", ["https://127.0.0.1", "http://127.0.0.1:1", "http://localhost", "http://me@127.0.0.1"]
)
def test_no_other_server_is_asked(buckets, address, other):
    port = address.rpartition(":")[2]
    with pytest.raises(InvalidUri):
        buckets.check(f"{other.removesuffix(':1')}:{'1' if other.endswith(':1') else port}/sets/t.jsonl")


def test_a_whole_server_can_be_allowed(buckets, address):
    allowed = replace(buckets.settings, web_roots=(parse_web_root(address),))

    assert lines(Buckets(allowed), f"{address}/secret") == LINES
