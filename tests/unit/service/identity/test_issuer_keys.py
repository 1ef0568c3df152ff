"""The keys of an issuer: when they are fetched, when they are not, and what holds while it is away."""

import asyncio
import json
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

import issuer as issuers
from patience import PATIENCE_SECONDS, wait_until
from tuningfork.domain.errors import Unavailable
from tuningfork.service.identity import issuer_keys
from tuningfork.service.identity.issuer_keys import IssuerKeys, KeysAwaited
from tuningfork.service.identity.name_lookup import MOST_LOOKUPS, NameLookups


class Watch:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def watch():
    return Watch()


@pytest.fixture
def issuer():
    with issuers.running() as running:
        yield running


@pytest.fixture
def keys(issuer, watch):
    return IssuerKeys(issuer.url, monotonic=watch)


def find(keys, key_id):
    """The key, after a wait for the fetch that it begins."""
    try:
        return keys.find(key_id)
    except KeysAwaited as awaited:
        awaited.ready.result(PATIENCE_SECONDS)
        return keys.find(key_id)


def until_fetched(issuer, count):
    """Wait until the issuer was asked so often."""
    wait_until(lambda: len(issuer.asked) >= count)


def until_gone(keys, key_id):
    """Ask for the key again and again, for longer than the fetch that has begun can take."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        keys.find(key_id)
        time.sleep(0.01)


def test_nothing_is_fetched_before_a_token_comes_and_once_for_many(issuer, keys):
    assert issuer.asked == []

    for _ in range(5):
        assert find(keys, issuer.key_id).key_id == issuer.key_id

    assert issuer.asked == [issuers.CONFIGURATION, issuers.KEYS]


def test_many_threads_wait_for_one_fetch(issuer, keys):
    found = []
    threads = [threading.Thread(target=lambda: found.append(find(keys, issuer.key_id))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 16
    assert len(issuer.asked) == 2


def test_a_new_key_is_found_and_strangers_make_nobody_fetch_more_than_once_a_minute(issuer, keys, watch):
    find(keys, issuer.key_id)
    issuer.rotate()

    for _ in range(100):
        with pytest.raises(KeyError):
            find(keys, "made-up")
    assert len(issuer.asked) == 2

    watch.now += issuer_keys.REFETCH_SECONDS
    for _ in range(100):
        with pytest.raises(KeyError):
            find(keys, "made-up")
    assert len(issuer.asked) == 4
    assert find(keys, issuer.key_id).key_id == issuer.key_id


def test_a_key_that_the_issuer_gave_up_is_gone_within_the_hour(issuer, keys, watch):
    old = issuer.key_id
    find(keys, old)
    issuer.rotate()
    assert find(keys, old)

    watch.now += issuer_keys.LIFETIME_SECONDS
    # The one who notices that the keys are old does not wait for the new ones.
    assert keys.find(old)
    until_fetched(issuer, 4)
    with pytest.raises(KeyError):
        until_gone(keys, old)


def test_the_only_key_needs_no_name(issuer, keys):
    assert find(keys, None).key_id == issuer.key_id


def test_an_issuer_that_is_away_at_first_is_asked_again_soon(issuer, keys, watch):
    issuer.status = 503
    for _ in range(10):
        with pytest.raises(Unavailable, match=r"API keys work"):
            find(keys, issuer.key_id)
    assert len(issuer.asked) == 1

    issuer.status = 200
    watch.now += issuer_keys.RETRY_SECONDS
    assert find(keys, issuer.key_id)


def test_known_keys_serve_while_the_issuer_is_away_but_not_for_ever(issuer, keys, watch):
    find(keys, issuer.key_id)
    issuer.status = 503

    watch.now += issuer_keys.LIFETIME_SECONDS
    assert find(keys, issuer.key_id)
    with pytest.raises(Unavailable):
        find(keys, "new-while-away")

    watch.now = issuer_keys.STALE_SECONDS
    with pytest.raises(Unavailable):
        find(keys, issuer.key_id)


@pytest.mark.parametrize(
    ("path", "document"),
    [
        (issuers.CONFIGURATION, b"<html>"),
        (issuers.CONFIGURATION, []),
        (issuers.CONFIGURATION, {}),
        (issuers.CONFIGURATION, {"issuer": "https://elsewhere.example", "jwks_uri": "http://127.0.0.1:9/keys"}),
        (issuers.CONFIGURATION, {"issuer": "URL"}),
        (issuers.CONFIGURATION, {"issuer": "URL", "jwks_uri": "file:///etc/passwd"}),
        (issuers.CONFIGURATION, {"issuer": "URL", "jwks_uri": "http://127.0.0.1:9/nobody"}),
        (issuers.CONFIGURATION, {"issuer": "URL", "jwks_uri": 7}),
        (issuers.KEYS, None),
        (issuers.KEYS, {"keys": []}),
        (issuers.KEYS, {"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "key1", "alg": "XS1"}]}),
        (issuers.KEYS, {"keys": "many"}),
        (issuers.KEYS, b"[" * 100_000),
        (issuers.KEYS, b'{"keys": "' + b" " * 2**21 + b'"}'),
    ],
    ids=range(14),
)
def test_an_issuer_that_makes_no_sense_is_away(issuer, keys, path, document, caplog):
    text = document if isinstance(document, bytes) else json.dumps(document).replace("URL", issuer.url).encode()
    issuer.documents[path] = None if document is None else text

    with pytest.raises(Unavailable):
        find(keys, issuer.key_id)

    assert "cannot be had" in caplog.text


def test_keys_of_a_safe_issuer_come_from_a_safe_place():
    safe = "https://issuer.example"
    answers = {
        issuers.CONFIGURATION: {"issuer": safe, "jwks_uri": "http://issuer.example/keys"},
        issuers.KEYS: {"keys": []},
    }
    asked = []

    def answer(request):
        asked.append(request.url.path)
        return httpx.Response(200, json=answers[request.url.path])

    with pytest.raises(Unavailable):
        find(IssuerKeys(safe, transport=httpx.MockTransport(answer)), "any")
    assert asked == [issuers.CONFIGURATION]


def test_redirects_are_not_followed():
    def answer(request):
        return httpx.Response(302, headers={"location": "https://elsewhere.example/"})

    with pytest.raises(Unavailable):
        find(IssuerKeys("https://issuer.example", transport=httpx.MockTransport(answer)), "any")


def test_while_a_known_key_is_fetched_anew_nobody_else_waits(watch):
    fetching, go_on = threading.Event(), threading.Event()
    go_on.set()
    with issuers.running() as source:
        documents = {
            path: json.dumps(document).replace(source.url, "https://i.example")
            for path, document in source.documents.items()
        }

    async def answer(request):
        fetching.set()
        assert await asyncio.to_thread(go_on.wait, PATIENCE_SECONDS)
        return httpx.Response(200, content=documents[request.url.path])

    keys = IssuerKeys("https://i.example", transport=httpx.MockTransport(answer), monotonic=watch)
    find(keys, "key1")
    watch.now += issuer_keys.LIFETIME_SECONDS
    go_on.clear()
    fetching.clear()

    assert keys.find("key1").key_id == "key1"
    assert fetching.wait(PATIENCE_SECONDS)
    assert keys.find("key1").key_id == "key1"

    go_on.set()


class Resolver:
    """Looks addresses up once it is told to answer; before, whoever asks waits."""

    def __init__(self):
        self.answering = threading.Event()
        self.asked = 0

    def __call__(self, *arguments, **options):
        self.asked += 1
        self.answering.wait()
        return socket.getaddrinfo(*arguments, **options)


@pytest.fixture
def resolver():
    resolver = Resolver()
    yield resolver
    resolver.answering.set()


def test_a_resolver_that_does_not_answer_is_given_up_at_the_deadline_and_has_few_threads(
    issuer, resolver, watch, caplog
):
    named = issuer.url.replace("127.0.0.1", "localhost")
    keys = IssuerKeys(named, monotonic=watch, fetch_seconds=0.2, resolve=resolver)

    def give_up():
        with pytest.raises(KeysAwaited) as awaited:
            keys.find("k1")
        awaited.value.ready.result(PATIENCE_SECONDS)
        with pytest.raises(Unavailable, match="does not give its keys"):
            keys.find("k1")
        watch.now += issuer_keys.RETRY_SECONDS

    # On a busy machine a deadline may pass before the lookup begins.
    wait_until(lambda: give_up() or resolver.asked == MOST_LOOKUPS)
    for _ in range(3):
        give_up()

    assert resolver.asked == MOST_LOOKUPS
    assert "it did not give them within 0.2 seconds" in caplog.text
    assert "has not answered 4 earlier lookups" in caplog.text
    for each in threading.enumerate():
        if each.name == "issuer-keys":
            each.join(PATIENCE_SECONDS)
            assert not each.is_alive()


def test_a_name_is_looked_up_or_the_resolver_s_error_is_told():
    async def look_up():
        return await asyncio.get_running_loop().getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)

    with asyncio.Runner(loop_factory=NameLookups().loop) as runner:
        assert runner.run(look_up())[0][4][1] == 80

    def unknown(*_, **__):
        raise socket.gaierror("no such host")

    with asyncio.Runner(loop_factory=NameLookups(unknown).loop) as runner, pytest.raises(socket.gaierror):
        runner.run(look_up())


def test_an_error_of_any_class_ends_a_lookup():
    def confused(*_, **__):
        raise UnicodeError("label empty or too long")

    async def look_up():
        await asyncio.wait_for(asyncio.get_running_loop().getaddrinfo("a..b", 80), PATIENCE_SECONDS)

    with asyncio.Runner(loop_factory=NameLookups(confused).loop) as runner, pytest.raises(UnicodeError):
        runner.run(look_up())


def test_lookups_without_a_thread_leave_room_for_others():
    def start(work):
        if left:
            left.pop()
            raise RuntimeError("can't start new thread")
        work()

    async def look_up():
        return await asyncio.get_running_loop().getaddrinfo("localhost", 80)

    left = [*range(MOST_LOOKUPS + 1)]
    with asyncio.Runner(loop_factory=NameLookups(lambda *_, **__: ["found"], start).loop) as runner:
        for _ in range(MOST_LOOKUPS + 1):
            with pytest.raises(RuntimeError, match="new thread"):
                runner.run(look_up())
        assert runner.run(look_up()) == ["found"]


class Drip(BaseHTTPRequestHandler):
    """Sends one header line after the other, until its server is closed."""

    def do_GET(self):
        self.send_response(200)
        with suppress(OSError):
            while not self.server.closing.wait(0.1):
                self.send_header("x-any", "and another")
                self.flush_headers()
        self.close_connection = True

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def dripping():
    """The URL of an issuer that never ends its headers. Whoever still fetches its keys at the end has given up then."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Drip) as server:
        server.closing = threading.Event()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.closing.set()
        server.shutdown()
        thread.join()
    # What they log belongs to no other test.
    for each in threading.enumerate():
        if each.name == "issuer-keys":
            each.join(PATIENCE_SECONDS)


def test_an_issuer_that_drips_is_given_up_at_one_deadline(dripping, caplog):
    keys = IssuerKeys(dripping, fetch_seconds=0.4)
    began = time.monotonic()

    with pytest.raises(Unavailable, match="API keys work"):
        find(keys, "any")

    assert 0.3 < time.monotonic() - began < PATIENCE_SECONDS / 2
    assert "within 0.4 seconds" in caplog.text


def test_nobody_who_asks_for_a_key_waits_in_a_thread(dripping):
    keys = IssuerKeys(dripping, fetch_seconds=2 * PATIENCE_SECONDS)
    began = time.monotonic()

    for _ in range(100):
        with pytest.raises(KeysAwaited):
            keys.find("any")

    assert time.monotonic() - began < PATIENCE_SECONDS
