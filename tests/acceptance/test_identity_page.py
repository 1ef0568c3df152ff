"""docs/identity.md as it is printed, and what it says of servers that are set up otherwise, with real processes."""

from datetime import UTC, datetime
from functools import partial

import httpx
import pytest

import issuer as issuers
import live_server
from patience import PATIENCE_SECONDS
from printed_pages import page, run_printed_commands, run_script

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

get = partial(httpx.get, timeout=PATIENCE_SECONDS)

SCOPE = "https://www.googleapis.com/auth/generative-language.tuning"


def test_the_pages_commands_log_in_call_with_a_token_and_log_out(server, tmp_path):
    ended = run_printed_commands(page("identity.md"), tmp_path, server)

    assert ended.returncode == 0, ended.stderr
    answers, _, status = ended.stdout.partition("server\t")
    assert answers.count("{") >= 2
    assert status.startswith(server.url)
    assert status.endswith("taken\tyes\n")
    assert ended.stderr.splitlines()[-1] == "Logged out."
    assert server.key not in ended.stdout + ended.stderr
    assert not list((tmp_path / ".config" / "tuningfork").iterdir())


def test_a_token_for_looking_changes_nothing_and_says_what_it_lacks(server, tmp_path):
    ended = run_script(
        f"tuningfork auth print-access-token --url {server.url} --scopes {SCOPE}.readonly", tmp_path, server
    )

    answer = httpx.delete(
        f"{server.url}/v1beta/tunedModels/x",
        headers={"authorization": f"Bearer {ended.stdout.strip()}"},
        timeout=PATIENCE_SECONDS,
    )

    assert answer.status_code == 403
    assert answer.json()["error"]["message"] == "Request had insufficient authentication scopes."
    assert answer.json()["error"]["details"][0]["metadata"]["method"].endswith("ModelService.DeleteTunedModel")


@pytest.fixture(scope="module")
def issuer():
    with issuers.running() as running:
        yield running


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory, issuer):
    """A server with an issuer, a budget, and a page that may call."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNINGFORK_OIDC_ISSUER", issuer.url)
        patch.setenv("TUNINGFORK_OIDC_AUDIENCE", "tuningfork")
        patch.setenv("TUNINGFORK_REQUESTS_PER_MINUTE", "5")
        with live_server.running(tmp_path_factory.mktemp("strict"), "--cors-origin", "https://app.example") as running:
            yield running


def token_for(issuer, email, **changes):
    moment = int(datetime.now(UTC).timestamp())
    claims = {"iss": issuer.url, "aud": "tuningfork", "email": email, "exp": moment + 600, "scope": SCOPE}
    return {"authorization": f"Bearer {issuer.token(**{**claims, **changes})}"}


def test_a_person_whom_the_issuer_vouches_for_comes_in(strict_server, issuer):
    url = f"{strict_server.url}/v1beta/tunedModels"

    assert get(url, headers=token_for(issuer, "ada@example.com")).status_code == 200
    assert get(url, headers=token_for(issuer, "ada@example.com", aud="another")).status_code == 401
    assert get(url, headers=token_for(issuer, "ada@example.com", scope="openid")).status_code == 403


def test_while_the_issuer_is_away_keys_work_and_tokens_with_new_keys_wait(tmp_path, monkeypatch):
    with issuers.running() as away:
        away.status = 503
        monkeypatch.setenv("TUNINGFORK_OIDC_ISSUER", away.url)
        monkeypatch.setenv("TUNINGFORK_OIDC_AUDIENCE", "tuningfork")
        with live_server.running(tmp_path) as server:
            url = f"{server.url}/v1beta/tunedModels"
            refused = get(url, headers=token_for(away, "ada@example.com"))

            assert (refused.status_code, refused.json()["error"]["status"]) == (503, "UNAVAILABLE")
            assert get(url, headers=server.headers).status_code == 200


def test_a_budget_is_held_and_a_page_can_read_that_it_is(strict_server):
    sent = {**strict_server.headers, "origin": "https://app.example"}
    answers = [get(f"{strict_server.url}/v1beta/models", headers=sent) for _ in range(6)]

    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
    assert {answer.headers["access-control-allow-origin"] for answer in answers} == {"https://app.example"}


def test_a_server_that_asks_for_nothing_says_so_and_keeps_pages_out(tmp_path):
    with live_server.running(tmp_path, "--no-auth") as server:
        url = f"{server.url}/v1beta/tunedModels"

        assert "NO AUTHENTICATION" in server.log.read_text()
        assert get(url).status_code == 200
        assert get(url, headers={"origin": "https://evil.example"}).status_code == 403
        assert get(url, headers={"host": "evil.example"}).status_code == 403
        assert run_script(f"tuningfork models --url {server.url}", tmp_path, server).returncode == 0
        token = run_script(f"tuningfork auth print-access-token --url {server.url}", tmp_path, server).stdout.strip()
        assert get(url, headers={"authorization": f"Bearer {token}"}).status_code == 200
