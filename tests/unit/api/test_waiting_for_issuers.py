"""Callers with tokens of an issuer that does not answer wait for it; nobody else does."""

import asyncio
import time
from datetime import UTC, datetime

import pytest

import issuer as issuers
from caller import caller_of, identity_of
from patience import PATIENCE_SECONDS
from tuningfork.dialect.gate import Gate
from tuningfork.dialect.scopes import Scope
from tuningfork.service.identity.issuer_keys import IssuerKeys
from tuningfork.service.identity.openid import OpenIdTokens, TrustedIssuer

WAITING = 100
"""More than the threads that a server has."""


@pytest.fixture
def issuer():
    with issuers.running() as running:
        yield running


def test_health_and_keys_are_answered_while_many_wait_for_an_issuer(workshop, issuer):
    async def scenario():
        waiting = [asyncio.ensure_future(caller.send("GET", path, key="", headers=headers)) for _ in range(WAITING)]
        while not transport.asked:  # noqa: ASYNC110 - asked from another thread
            await asyncio.sleep(0.02)
        async with asyncio.timeout(PATIENCE_SECONDS):
            well = await caller.send("GET", "/healthz")
            with_key = await caller.send("GET", path)
        assert not any(each.done() for each in waiting)
        transport.go_on()
        return well.status_code, with_key.status_code, [(await each).status_code for each in waiting]

    transport = issuers.HeldTransport()
    trusted = TrustedIssuer(url=issuer.url, audience="tuningfork", scopes=frozenset(Scope))
    outside = OpenIdTokens(trusted, IssuerKeys(issuer.url, transport=transport), lambda: datetime.now(UTC))
    identity = identity_of(workshop, outside)
    caller = caller_of(workshop, gate=Gate(identity=identity, quotas=workshop.quotas))
    now = int(time.time())
    token = issuer.token(
        iss=issuer.url,
        aud="tuningfork",
        email="ada@example.com",
        iat=now - 10,
        exp=now + 900,
        scope=str(Scope.TUNING),
    )
    path, headers = "/v1beta/tunedModels", {"authorization": f"Bearer {token}"}

    well, with_key, statuses = asyncio.run(scenario())

    assert (well, with_key) == (200, 200)
    assert set(statuses) == {200}
