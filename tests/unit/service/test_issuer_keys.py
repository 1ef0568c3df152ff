"""The keys of an issuer: when they are fetched, when they are not, and what holds while it is away."""

import json
import threading

import httpx
import pytest

import issuer as issuers
from tuningfork.domain.errors import Unavailable
from tuningfork.service import issuer_keys
from tuningfork.service.issuer_keys import IssuerKeys


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


def test_nothing_is_fetched_before_a_token_comes_and_once_for_many(issuer, keys):
    assert issuer.asked == []

    for _ in range(5):
        assert keys.find(issuer.key_id).key_id == issuer.key_id

    assert issuer.asked == [issuers.CONFIGURATION, issuers.KEYS]


def test_many_threads_wait_for_one_fetch(issuer, keys):
    found = []
    threads = [threading.Thread(target=lambda: found.append(keys.find(issuer.key_id))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 16
    assert len(issuer.asked) == 2


def test_a_new_key_is_found_and_strangers_make_nobody_fetch_more_than_once_a_minute(issuer, keys, watch):
    keys.find(issuer.key_id)
    issuer.rotate()

    for _ in range(100):
        with pytest.raises(KeyError):
            keys.find("made-up")
    assert len(issuer.asked) == 2

    watch.now += issuer_keys.REFETCH_SECONDS
    for _ in range(100):
        with pytest.raises(KeyError):
            keys.find("made-up")
    assert len(issuer.asked) == 4
    assert keys.find(issuer.key_id).key_id == issuer.key_id


def test_a_key_that_the_issuer_gave_up_is_gone_within_the_hour(issuer, keys, watch):
    old = issuer.key_id
    keys.find(old)
    issuer.rotate()
    assert keys.find(old)

    watch.now += issuer_keys.LIFETIME_SECONDS
    with pytest.raises(KeyError):
        keys.find(old)


def test_the_only_key_needs_no_name(issuer, keys):
    assert keys.find(None).key_id == issuer.key_id


def test_an_issuer_that_is_away_at_first_is_asked_again_soon(issuer, keys, watch):
    issuer.status = 503
    for _ in range(10):
        with pytest.raises(Unavailable, match=r"API keys work"):
            keys.find(issuer.key_id)
    assert len(issuer.asked) == 1

    issuer.status = 200
    watch.now += issuer_keys.RETRY_SECONDS
    assert keys.find(issuer.key_id)


def test_known_keys_serve_while_the_issuer_is_away_but_not_for_ever(issuer, keys, watch):
    keys.find(issuer.key_id)
    issuer.status = 503

    watch.now += issuer_keys.LIFETIME_SECONDS
    assert keys.find(issuer.key_id)
    with pytest.raises(Unavailable):
        keys.find("new-while-away")

    watch.now = issuer_keys.STALE_SECONDS
    with pytest.raises(Unavailable):
        keys.find(issuer.key_id)


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
        keys.find(issuer.key_id)

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
        IssuerKeys(safe, transport=httpx.MockTransport(answer)).find("any")
    assert asked == [issuers.CONFIGURATION]


def test_redirects_are_not_followed():
    def answer(request):
        return httpx.Response(302, headers={"location": "https://elsewhere.example/"})

    with pytest.raises(Unavailable):
        IssuerKeys("https://issuer.example", transport=httpx.MockTransport(answer)).find("any")


def test_while_a_known_key_is_fetched_anew_nobody_else_waits(watch):
    fetching, go_on = threading.Event(), threading.Event()
    go_on.set()
    with issuers.running() as source:
        documents = {
            path: json.dumps(document).replace(source.url, "https://i.example")
            for path, document in source.documents.items()
        }

    def answer(request):
        fetching.set()
        assert go_on.wait(10)
        return httpx.Response(200, content=documents[request.url.path])

    keys = IssuerKeys("https://i.example", transport=httpx.MockTransport(answer), monotonic=watch)
    keys.find("key1")
    watch.now += issuer_keys.LIFETIME_SECONDS
    go_on.clear()
    fetching.clear()
    slow = threading.Thread(target=keys.find, args=("key1",))
    slow.start()
    assert fetching.wait(10)

    assert keys.find("key1").key_id == "key1"

    go_on.set()
    slow.join()
