"""Access tokens: what they say, how long they live, and every way in which one can be wrong."""

import base64
import json
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import jwt
import pytest

from fakes import Clock
from tuningfork.dialect.scopes import SCOPES as KNOWN_SCOPES
from tuningfork.dialect.scopes import Scope
from tuningfork.domain.errors import InvalidArgument, TokenNotValid
from tuningfork.domain.permission import Email, Principal
from tuningfork.service.identity.tokens import (
    DEFAULT_LIFETIME,
    LEEWAY_SECONDS,
    MAX_LIFETIME,
    AccessTokens,
    unverified_issuer,
)
from tuningfork.store import signing_keys
from tuningfork.wire.gemini.service import SERVICE

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOLDER = Principal(email=Email("ada@example.com"), project="123", credential="key1")
SCOPES = (Scope.CLOUD_PLATFORM.value, Scope.TUNING.value)


def at(moment):
    """A clock that stands there."""
    return lambda: moment


def issuing(database, clock):
    return AccessTokens(database, clock, scopes=KNOWN_SCOPES, audience=SERVICE)


@pytest.fixture
def tokens(database):
    return issuing(database, at(NOON))


def claims_of(token):
    return jwt.decode(token, options={"verify_signature": False})


def test_a_token_tells_whose_key_it_was_made_for_and_what_it_is_good_for(tokens):
    token = tokens.create(HOLDER, SCOPES)

    claims = tokens.read(token.value)
    assert (claims.key_id, claims.scopes) == ("key1", frozenset(SCOPES))
    assert token.scopes == SCOPES
    assert token.expire_time == NOON + DEFAULT_LIFETIME


def test_what_is_signed_is_what_rfc_9068_names(tokens):
    value = tokens.create(HOLDER, SCOPES, timedelta(minutes=10)).value

    claims = claims_of(value)
    assert claims.pop("jti") != claims_of(tokens.create(HOLDER, SCOPES).value)["jti"]
    assert claims == {
        "iss": "tuningfork",
        "aud": "generativelanguage.googleapis.com",
        "sub": "ada@example.com",
        "email": "ada@example.com",
        "project": "123",
        "scope": " ".join(SCOPES),
        "key": "key1",
        "iat": int(NOON.timestamp()),
        "exp": int(NOON.timestamp()) + 600,
    }
    header = jwt.get_unverified_header(value)
    assert (header["alg"], header["typ"]) == ("HS256", "at+jwt")


def test_a_token_lives_to_its_end_and_a_little_for_clocks_that_differ(database, tokens):
    token = tokens.create(HOLDER, SCOPES, timedelta(hours=1))
    last = token.expire_time + timedelta(seconds=LEEWAY_SECONDS)

    assert issuing(database, at(last - timedelta(milliseconds=1))).read(token.value).key_id == "key1"
    with pytest.raises(TokenNotValid):
        issuing(database, at(last)).read(token.value)


def test_a_token_from_the_future_is_none(database, tokens):
    token = tokens.create(HOLDER, SCOPES)
    early = NOON - timedelta(seconds=LEEWAY_SECONDS)

    assert issuing(database, at(early)).read(token.value).key_id == "key1"
    with pytest.raises(TokenNotValid):
        issuing(database, at(early - timedelta(seconds=1))).read(token.value)


def test_every_server_on_one_database_knows_the_tokens_of_the_others(database):
    one, other = issuing(database, Clock()), issuing(database, Clock())

    assert other.read(one.create(HOLDER, SCOPES).value).key_id == "key1"
    assert one.read(other.create(HOLDER, SCOPES).value).key_id == "key1"


def test_the_first_of_many_servers_makes_the_one_signing_key(database):
    servers = [issuing(database, Clock()) for _ in range(8)]
    threads = [threading.Thread(target=server.create, args=(HOLDER, SCOPES)) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with database.read() as connection:
        keys = signing_keys.all_of_them(connection)
    assert [len(key.secret) for key in keys] == [32]
    assert "secret" not in repr(keys[0])


def forged(tokens, database, *, secret=None, algorithm="HS256", header=None, **changes):
    """A token as the service would make it, but for what is said here."""
    tokens.create(HOLDER, SCOPES)
    with database.read() as connection:
        [key] = signing_keys.all_of_them(connection)
    claims = {**claims_of(tokens.create(HOLDER, SCOPES).value), **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(
        claims, key.secret if secret is None else secret, algorithm, headers={"kid": key.id, **(header or {})}
    )


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize(
    "lie",
    [
        {"secret": b"x" * 32},
        {"algorithm": "HS512"},
        {"algorithm": "none", "secret": ""},
        {"header": {"kid": "nobody"}},
        {"iss": "https://accounts.google.com"},
        {"aud": "aiplatform.googleapis.com"},
        {"aud": None},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": True},
        {"exp": 10**400},
        {"scope": [Scope.TUNING.value]},
        {"key": 5},
        {"key": ["key1"]},
        {"iat": None},
        {"iat": "long ago"},
        {"nbf": int(NOON.timestamp()) + 3600},
        {"key": None},
        {"scope": None},
    ],
    ids=lambda lie: str(lie)[:60],
)
def test_a_token_with_one_lie_in_it_is_none(tokens, database, lie):
    assert tokens.read(forged(tokens, database)).key_id == "key1"

    with pytest.raises(TokenNotValid):
        tokens.read(forged(tokens, database, **lie))


def changed(value, part):
    """The token with one letter of one of its three parts replaced."""
    parts = value.split(".")
    letter = "A" if parts[part][5] != "A" else "B"
    parts[part] = parts[part][:5] + letter + parts[part][6:]
    return ".".join(parts)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_token_with_one_letter_changed_is_none(tokens, part):
    with pytest.raises(TokenNotValid):
        tokens.read(changed(tokens.create(HOLDER, SCOPES).value, part))


def part(value):
    return (
        base64.urlsafe_b64encode(value if isinstance(value, bytes) else json.dumps(value).encode())
        .rstrip(b"=")
        .decode()
    )


GARBAGE = [
    "",
    ".",
    "..",
    "a.b.c",
    "....",
    "n\u00f6.n.e",
    "\ud800..",
    f"{part({'alg': 'HS256'})}..",
    f"{part({'alg': 'HS256', 'kid': 7})}.{part({})}.",
    f"{part(b'[' * 50_000)}.{part({})}.x",
    f"{part({'alg': 'HS256', 'kid': 'x'})}.{part(b'[' * 50_000)}.x",
    f"{part([])}.{part([])}.x",
    f"{part(b'null')}.{part(b'null')}.x",
    f"{part({'alg': None, 'kid': None})}.{part({'iss': 'tuningfork'})}.x",
    "a" * 100_000,
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_no_token(tokens, garbage):
    tokens.create(HOLDER, SCOPES)

    with pytest.raises(TokenNotValid):
        tokens.read(garbage)
    with suppress(TokenNotValid):
        assert unverified_issuer(garbage) in {None, "tuningfork"}


def test_scopes_may_be_named_in_short_and_count_once(tokens):
    token = tokens.create(HOLDER, ("cloud-platform", Scope.CLOUD_PLATFORM, "generative-language.tuning"))

    assert token.scopes == SCOPES


def test_all_that_is_wrong_with_a_request_is_told_at_once(tokens):
    with pytest.raises(InvalidArgument) as refused:
        tokens.create(HOLDER, ("tuning", "cloud-platform", ""), timedelta(hours=13))

    assert [violation.field for violation in refused.value.violations] == ["scopes[0]", "scopes[2]", "lifetime"]
    assert "https://www.googleapis.com/auth/generative-language.tuning" in refused.value.violations[0].description
    assert refused.value.violations[2].description == "lifetime must be 1s to 43200s; 46800s was given"


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(seconds=-5), MAX_LIFETIME + timedelta(seconds=1)])
def test_a_lifetime_out_of_bounds_is_refused(tokens, lifetime):
    with pytest.raises(InvalidArgument, match="lifetime must be"):
        tokens.create(HOLDER, SCOPES, lifetime)


def test_a_token_for_nothing_is_not_made(tokens):
    with pytest.raises(InvalidArgument, match="name at least one scope"):
        tokens.create(HOLDER, ())


def test_a_token_does_not_show_itself(tokens):
    token = tokens.create(HOLDER, SCOPES)

    assert token.value not in repr(token)
