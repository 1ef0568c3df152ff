"""Tokens of an issuer outside, from a real one on loopback."""

import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.utils import base64url_encode

import issuer as issuers
from patience import PATIENCE_SECONDS
from tuningfork.dialect.scopes import SCOPES, Scope
from tuningfork.domain.errors import TokenNotValid
from tuningfork.service.identity.issuer_keys import IssuerKeys, KeysAwaited
from tuningfork.service.identity.openid import OpenIdTokens, TrustedIssuer

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECONDS = int(NOON.timestamp())


@pytest.fixture(scope="module")
def issuer():
    with issuers.running() as running:
        yield running


@pytest.fixture
def tokens(issuer):
    trusted = TrustedIssuer(url=issuer.url, audience="tuningfork", scopes=frozenset(Scope))
    return OpenIdTokens(trusted, IssuerKeys(issuer.url), lambda: NOON)


def good(issuer, **changes):
    """A token that is right in every way but for the changes."""
    claims = {
        "iss": issuer.url,
        "aud": "tuningfork",
        "sub": "u-1",
        "email": "Ada@Example.com",
        "iat": SECONDS - 10,
        "exp": SECONDS + 300,
        "scope": f"openid {Scope.TUNING}",
    }
    return issuer.token(**{**claims, **changes})


def read(tokens, token):
    """What the token says, after a wait for the issuer's keys."""
    try:
        return tokens.read(token)
    except KeysAwaited as awaited:
        awaited.ready.result(PATIENCE_SECONDS)
        return tokens.read(token)


@pytest.mark.parametrize(
    "email",
    [
        " ada@example.com",
        "ada@example.com\n",
        "\u00a0ada@example.com",
        "me@localhost",
        "Me@LocalHost",
        "root@host.localhost",
        "\u0430da@example.com",
        "ada@ex\u0430mple.com",
        "\u212ada@example.com",
        "",
        None,
        ["ada@example.com"],
    ],
)
def test_an_address_is_taken_exactly_or_not_at_all(issuer, tokens, email):
    with pytest.raises(TokenNotValid):
        read(tokens, good(issuer, email=email))


@pytest.mark.parametrize(
    "email", ["ada@example.com", "Ada@Example.COM", "j\u00f6rg@example.com", "\u6c34\u306e@example.com"]
)
def test_an_address_of_one_script_is_taken(issuer, tokens, email):
    assert read(tokens, good(issuer, email=email)).email == email.lower()


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_genuine_token_speaks_for_its_person(issuer, tokens, algorithm):
    issuer.rotate(algorithm)

    claims = read(tokens, good(issuer))

    assert claims.email == "ada@example.com"
    assert claims.scopes == {Scope.TUNING}


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["other", "tuningfork"]},
        {"email_verified": True},
        {"email_verified": "true"},
        {"iat": None},
        {"exp": SECONDS - 20},
        {"nbf": SECONDS + 20},
    ],
    ids=str,
)
def test_what_issuers_do_differently_is_taken(issuer, tokens, changes):
    assert read(tokens, good(issuer, **changes)).email == "ada@example.com"


@pytest.mark.parametrize(
    "lie",
    [
        {"iss": "https://elsewhere.example"},
        {"aud": "another-service"},
        {"aud": None},
        {"exp": SECONDS - 30},
        {"exp": None},
        {"exp": float("nan")},
        {"nbf": SECONDS + 3600},
        {"iat": SECONDS + 3600},
        {"email": None},
        {"email": ""},
        {"email": "ada"},
        {"email": ["ada@example.com"]},
        {"email_verified": False},
        {"email_verified": "false"},
        {"email_verified": None, "email": 7},
        {"scope": 7},
        {"scope": [["x"]]},
        {"header": {"kid": "another"}},
    ],
    ids=str,
)
def test_a_token_with_one_lie_in_it_is_none(issuer, tokens, lie):
    if issuer.algorithm != "RS256":
        issuer.rotate()
    assert read(tokens, good(issuer)).email == "ada@example.com"

    with pytest.raises(TokenNotValid):
        read(tokens, good(issuer, **lie))


def test_a_token_that_somebody_else_signed_is_none(issuer, tokens):
    issuer.rotate()
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    with pytest.raises(TokenNotValid):
        read(tokens, good(issuer, key=stranger))


@pytest.mark.parametrize("algorithm", ["PS256", "RS512"])
def test_only_two_algorithms_are_taken(issuer, tokens, algorithm):
    issuer.rotate()

    with pytest.raises(TokenNotValid):
        read(tokens, good(issuer, algorithm=algorithm))


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_a_public_key_is_no_secret(issuer, tokens, algorithm):
    # The oldest attack: sign with HMAC, and the issuer's public key in the place of the secret. By hand, since no
    # library does it any more.
    issuer.rotate()
    claims = good(issuer).split(".")[1]
    public = issuer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = base64url_encode(json.dumps({"alg": algorithm, "typ": "JWT", "kid": issuer.key_id}).encode()).decode()
    signature = hmac.digest(public, f"{header}.{claims}".encode(), "sha256") if algorithm == "HS256" else b""

    with pytest.raises(TokenNotValid):
        read(tokens, f"{header}.{claims}.{base64url_encode(signature).decode()}")


def test_a_token_that_names_an_algorithm_its_key_has_not_is_none(issuer, tokens):
    issuer.rotate("ES256")
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    with pytest.raises(TokenNotValid):
        read(tokens, good(issuer, key=other, algorithm="RS256"))


def test_the_claims_may_have_other_names(issuer):
    trusted = TrustedIssuer(
        url=issuer.url,
        audience="tuningfork",
        scopes=frozenset(Scope),
        email_claim="preferred_username",
        scope_claim="scp",
    )
    tokens = OpenIdTokens(trusted, IssuerKeys(issuer.url), lambda: NOON)

    claims = read(tokens, good(issuer, preferred_username="bob@example.com", scp=[Scope.CLOUD_PLATFORM, "x"]))

    assert (claims.email, claims.scopes) == ("bob@example.com", {Scope.CLOUD_PLATFORM})


@pytest.mark.parametrize("scope", [Scope.STORAGE_READ_ONLY, Scope.CLOUD_PLATFORM_READONLY])
def test_a_token_with_a_scope_of_buckets_alone_gets_no_other_one(issuer, tokens, scope):
    generous = OpenIdTokens(
        replace(tokens.trusted, scopes=frozenset(SCOPES.names), default_scopes=frozenset({Scope.CLOUD_PLATFORM.value})),
        IssuerKeys(issuer.url),
        lambda: NOON,
    )

    assert read(generous, good(issuer, scope=scope)).scopes == {scope}


@pytest.mark.parametrize("scope", [None, "", "openid email", []])
def test_a_token_that_names_no_scope_of_ours_gets_what_the_operator_says_and_nothing_by_default(issuer, tokens, scope):
    generous = OpenIdTokens(
        replace(tokens.trusted, default_scopes=frozenset({Scope.TUNING_READONLY.value})),
        IssuerKeys(issuer.url),
        lambda: NOON,
    )

    assert read(tokens, good(issuer, scope=scope)).scopes == frozenset()
    assert read(generous, good(issuer, scope=scope)).scopes == {Scope.TUNING_READONLY}
    assert read(generous, good(issuer)).scopes == {Scope.TUNING}
