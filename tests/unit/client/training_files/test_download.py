"""Files at https addresses: against a network that is a function, and against a real server behind a thin seam."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tuningfork.client import training_files
from tuningfork.client.errors import TrainingFileError
from tuningfork.client.training_files import download
from tuningfork.client.training_files.bounds import Bound
from tuningfork.domain.conversation import Conversation

URL = "https://example.com/data/pairs.csv?token=secret#part"
CSV = b"text_input,output\n1,2\n"
SHEET = "https://docs.google.com/spreadsheets/d/1aB-c_D"
PUBLISHED = "https://docs.google.com/spreadsheets/d/e/2PACX-1v"


class Web:
    """Answers by address, and keeps what it was asked."""

    def __init__(self, answers):
        self.answers = answers
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        answer = self.answers[str(request.url)] if isinstance(self.answers, dict) else self.answers
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def transport(self):
        return httpx.MockTransport(self)


def read(web, url=URL, **options):
    return training_files.read(url, transport=web.transport, **options)


def redirect(to, status=302):
    return httpx.Response(status, headers={"location": to})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (f"{SHEET}/edit#gid=12", f"{SHEET}/export?format=csv&gid=12"),
        (f"{SHEET}/edit?gid=12#gid=12", f"{SHEET}/export?format=csv&gid=12"),
        (f"{SHEET}/edit?usp=sharing", f"{SHEET}/export?format=csv"),
        (f"{SHEET}/view#gid=0&range=A1", f"{SHEET}/export?format=csv&gid=0"),
        (f"{SHEET}/export?format=csv&gid=5", f"{SHEET}/export?format=csv&gid=5"),
        (f"{SHEET}/export?format=xlsx", f"{SHEET}/export?format=csv"),
        (SHEET, f"{SHEET}/export?format=csv"),
        (f"{SHEET}/", f"{SHEET}/export?format=csv"),
        (f"{SHEET}/edit#gid=drop-table", f"{SHEET}/export?format=csv"),
        ("http://docs.google.com/spreadsheets/u/1/d/1aB-c_D/edit", f"{SHEET}/export?format=csv"),
        ("https://docs.google.com/a/example.com/spreadsheets/d/1aB-c_D/edit#gid=2", f"{SHEET}/export?format=csv&gid=2"),
        (f"{SHEET}/edit#gid=\u0663", f"{SHEET}/export?format=csv"),
        (f"{PUBLISHED}/pubhtml", f"{PUBLISHED}/pub?output=csv"),
        (f"{PUBLISHED}/pubhtml?gid=7&single=true", f"{PUBLISHED}/pub?output=csv&gid=7&single=true"),
        (f"{PUBLISHED}/pub?gid=7&output=xlsx", f"{PUBLISHED}/pub?output=csv&gid=7&single=true"),
        (f"{PUBLISHED}/edit", None),
        ("https://docs.google.com/document/d/1aB-c_D/edit", None),
        ("https://docs.google.com.evil.example/spreadsheets/d/1aB-c_D/edit", None),
        ("https://example.com/spreadsheets/d/1aB-c_D/edit", None),
    ],
)
def test_a_google_sheet_is_asked_for_as_csv(url, expected):
    assert download.sheet_export(url) == expected


def test_a_shared_sheet_is_read_where_its_export_leads():
    target = "https://doc-08-sheets.googleusercontent.com/export/1/2?format=csv"
    web = Web({f"{SHEET}/export?format=csv&gid=3": redirect(target, 307), target: httpx.Response(200, content=CSV)})

    data = read(web, f"{SHEET}/edit?usp=sharing#gid=3")

    assert (data.examples, data.title) == ((Conversation.pair("1", "2"),), "spreadsheet")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(401),
        httpx.Response(403),
        httpx.Response(200, html="<!DOCTYPE html><title>Sign in</title>"),
        httpx.Response(200, content=b"  <HTML>", headers={"content-type": "text/csv"}),
    ],
)
def test_a_sheet_that_is_not_shared_publicly_is_told_so(answer):
    with pytest.raises(TrainingFileError, match="is not shared publicly") as caught:
        read(Web(answer), f"{SHEET}/edit")

    assert "Anyone with the link" in caught.value.advice


@pytest.mark.parametrize(
    ("path", "media_type", "content"),
    [
        ("pairs.csv", "text/plain", CSV),
        ("pairs", "text/csv; charset=utf-8", CSV),
        ("pairs.json", "text/plain", b'[["1", "2"]]'),
        ("api", "application/json", b'[["1", "2"]]'),
        ("pairs.jsonl", "", b'["1", "2"]\n'),
        ("pairs", "application/x-ndjson", b'["1", "2"]\n'),
        ("pairs%2Ejson", "", b'[["1", "2"]]'),
    ],
)
def test_what_it_is_says_the_suffix_or_else_the_type(path, media_type, content):
    headers = {"content-type": media_type} if media_type else {}

    data = read(Web(httpx.Response(200, content=content, headers=headers)), f"https://example.com/{path}?x=y.parquet")

    assert data.examples == (Conversation.pair("1", "2"),)


@pytest.mark.parametrize("media_type", ["text/plain", "image/png", ""])
def test_where_neither_says_it_the_content_does(media_type):
    web = Web(httpx.Response(200, content=CSV, headers={"content-type": media_type}))

    assert read(web, "https://example.com/pairs").examples == (Conversation.pair("1", "2"),)


def test_no_message_repeats_what_follows_the_path():
    web = Web(httpx.Response(200, content=b"text_input,output\n1,\n"))

    with pytest.raises(TrainingFileError) as caught:
        read(web)

    assert caught.value.message == "https://example.com/data/pairs.csv, line 2, column 'output': empty."
    assert str(web.requests[0].url).partition("#")[0] == URL.partition("#")[0]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (httpx.Response(404), "the answer is 404 Not Found"),
        (httpx.Response(500), "the answer is 500 Internal Server Error"),
        (httpx.Response(304), "the answer is 304 Not Modified"),
        (httpx.Response(200, html="<html>"), "is a page for people"),
        (httpx.Response(200, content=b"\n<!-- x -->\n<!doctype HTML>"), "is a page for people"),
        (httpx.ConnectError("refused"), "cannot be fetched: refused"),
        (httpx.ReadTimeout(""), "cannot be fetched: ReadTimeout"),
        (httpx.Response(200, content=iter([b"x"]), headers={"content-encoding": "gzip"}), r"is sent packed \(gzip\)"),
        (redirect("http://example.com/pairs.csv"), "leads to http://example.com/pairs.csv, which is not an https"),
        (redirect("file:///etc/passwd"), "leads to file:/etc/passwd, which is not an https"),
        (redirect("https://"), "which is not an https address|cannot be fetched"),
        (redirect(URL), "more than 5 redirects"),
    ],
)
def test_whatever_goes_wrong_is_a_sentence_with_the_address(answer, message):
    with pytest.raises(TrainingFileError, match=message) as caught:
        read(Web(answer))

    assert caught.value.message.startswith("https://example.com/data/pairs.csv ")
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    "url", ["http://example.com/p.csv", "ftp://example.com/p.csv", "file:///p.csv", "https:///p.csv"]
)
def test_only_https_is_asked(url):
    web = Web(httpx.Response(200, content=CSV))

    with pytest.raises(TrainingFileError, match="is not an https address"):
        read(web, url)

    assert web.requests == []


def test_an_address_that_is_none_is_told_so():
    with pytest.raises(TrainingFileError, match="is not a URL"):
        read(Web({}), "https://exa mple.com:port/p.csv")


def test_no_credentials_go_along():
    web = Web(httpx.Response(200, content=CSV))

    read(web)

    assert not {"authorization", "cookie", "x-goog-api-key"} & set(web.requests[0].headers)


def test_a_file_that_says_it_is_too_large_is_not_fetched():
    def never():
        raise AssertionError
        yield b""

    web = Web(httpx.Response(200, content=never(), headers={"content-length": "5000000"}))

    with pytest.raises(TrainingFileError, match=r"has at least 5,000,000 bytes; .* at most 4,194,304"):
        read(web, base_model="models/gemini-1.0-pro-001")


def test_a_file_that_does_not_say_how_large_it_is_is_fetched_no_further_than_the_bound():
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield b"x" * 1_000

    with pytest.raises(TrainingFileError, match=r"has at least 10,000 bytes|has at least 11,000 bytes"):
        read(Web(httpx.Response(200, content=endless())), max_bytes=10_000)

    assert len(taken) <= 12


def test_an_answer_that_breaks_off_is_not_taken_for_the_whole():
    def broken():
        yield CSV
        raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")

    with pytest.raises(TrainingFileError, match="peer closed connection"):
        read(Web(httpx.Response(200, content=broken())))


def test_a_server_that_drips_is_not_waited_for():
    seconds = iter(range(0, 10_000, 7))
    drops = (b"x" for _ in range(10_000))
    web = Web(httpx.Response(200, content=drops))

    with pytest.raises(TrainingFileError, match="was not fetched within 60 seconds"):
        download.fetch(URL, Bound(max_bytes=10**6), transport=web.transport, clock=lambda: next(seconds))


class Unencrypted(httpx.BaseTransport):
    """Takes https requests to a server that speaks plain HTTP: certificates are not what is tested here."""

    def __init__(self, port):
        self._port = port
        self._network = httpx.HTTPTransport()

    def handle_request(self, request):
        target = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port)
        return self._network.handle_request(httpx.Request(request.method, target, headers=request.headers))

    def close(self):
        self._network.close()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/moved.csv":
            self.send_response(302)
            self.send_header("location", "/pairs.csv")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("content-type", "text/csv")
        self.end_headers()
        self.wfile.write(CSV if self.path == "/pairs.csv" else b"x" * 1_000_000)

    def log_message(self, *_):
        pass


@pytest.fixture
def real_server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Unencrypted(server.server_port)
        server.shutdown()
        thread.join()


def test_a_real_server_is_read_also_behind_a_redirect(real_server):
    data = training_files.read("https://files.example.com/moved.csv", transport=real_server)

    assert (data.examples, data.title) == ((Conversation.pair("1", "2"),), "moved")


def test_a_real_servers_answer_is_cut_off_at_the_bound(real_server):
    with pytest.raises(TrainingFileError, match=r"at most 1,000 \(0\.000953674 MB\)"):
        training_files.read("https://files.example.com/large.csv", transport=real_server, max_bytes=1_000)
