"""Refusals for what a caller showed or has used up, word for word with their headers."""

import pytest

from caller import TUTORIAL_BODY, caller_of, turn
from fakes import Clock
from tuningfork.service.quotas import Budget, Quotas
from workshop import build_workshop

TUNED = "/v1beta/tunedModels"
REALM = 'Bearer realm="https://accounts.google.com/"'
SCOPES = "https://www.googleapis.com/auth/"


def bearer(token):
    return {"authorization": f"Bearer {token}"}


def test_a_token_without_the_scope_is_told_which_would_do(caller):
    answer = caller.post(TUNED, {}, key="", headers=bearer(caller.token("generative-language.tuning.readonly")))

    assert answer.status_code == 403
    assert answer.headers["www-authenticate"] == (
        f'{REALM}, error="insufficient_scope", scope="{SCOPES}cloud-platform {SCOPES}generative-language '
        f'{SCOPES}generative-language.tuning"'
    )
    assert answer.json() == {
        "error": {
            "code": 403,
            "message": "Request had insufficient authentication scopes.",
            "status": "PERMISSION_DENIED",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
                    "domain": "googleapis.com",
                    "metadata": {
                        "service": "generativelanguage.googleapis.com",
                        "method": "google.ai.generativelanguage.v1beta.ModelService.CreateTunedModel",
                    },
                }
            ],
        }
    }


@pytest.mark.parametrize("token", ["nonsense", "", "a.b.c"])
def test_a_token_that_is_none_is_told_in_the_header_too(caller, token):
    answer = caller.get(TUNED, key="", headers=bearer(token))

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == f'{REALM}, error="invalid_token"'


@pytest.mark.parametrize("headers", [{}, {"x-goog-api-key": "nonsense"}])
def test_who_showed_no_token_is_not_told_about_tokens(caller, headers):
    assert "www-authenticate" not in caller.get(TUNED, key="", headers=headers).headers


def test_no_token_makes_tokens(caller):
    answer = caller.post(
        "/tuningfork/v1/accessTokens",
        {"scopes": ["cloud-platform"]},
        key="",
        headers=bearer(caller.token("cloud-platform")),
    )

    assert answer.json() == {
        "error": {
            "code": 403,
            "message": (
                "Access tokens are made for API keys only, not for other access tokens. Please pass an API key."
            ),
            "status": "PERMISSION_DENIED",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "ACCESS_TOKEN_TYPE_UNSUPPORTED",
                    "domain": "googleapis.com",
                    "metadata": {"service": "generativelanguage.googleapis.com"},
                }
            ],
        }
    }


@pytest.fixture
def limited(database, artifacts, executor):
    """A caller whose key may send three requests and use five tokens a minute, by a clock that stands still."""
    quotas = Quotas(Budget(requests_per_minute=3, tokens_per_minute=5, concurrent_jobs=1), monotonic=lambda: 7.0)
    workshop = build_workshop(database, artifacts, Clock(), executor, quotas)
    yield caller_of(workshop)
    workshop.dispatcher.close()


def refusal(metric, quota_id, value, seconds, key_id):
    return {
        "error": {
            "code": 429,
            "message": (
                "You exceeded your current quota, please check your plan and billing details.\n"
                f"* Quota exceeded for metric: generativelanguage.googleapis.com/{metric}, limit: {value}\n"
                f"Please retry in {seconds}s."
            ),
            "status": "RESOURCE_EXHAUSTED",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.Help",
                    "links": [
                        {
                            "description": "Learn more about Gemini API quotas",
                            "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
                        }
                    ],
                },
                {
                    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                    "violations": [
                        {
                            "quotaMetric": f"generativelanguage.googleapis.com/{metric}",
                            "quotaId": quota_id,
                            "quotaDimensions": {"key": key_id},
                            "quotaValue": str(value),
                        }
                    ],
                },
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{seconds}s"},
            ],
        }
    }


def id_of_key(caller):
    return caller.workshop.access.list_keys()[0].id


def test_a_request_too_many_is_told_when_to_come_back(limited):
    for _ in range(3):
        assert limited.get(TUNED).status_code == 200

    answer = limited.get(TUNED)

    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "60"
    assert answer.json() == refusal("requests", "RequestsPerMinutePerKey", 3, 60, id_of_key(limited))
    assert limited.get(TUNED, key=limited.bobs_key).status_code == 200


@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent", "streamGenerateContent?alt=sse"])
def test_the_tokens_of_every_way_to_ask_are_counted(limited, method):
    ask = {"contents": [turn("one two three four")]}
    assert limited.post(f"/v1beta/models/echo-001:{method}", ask).status_code == 200

    answer = limited.post("/v1beta/models/echo-001:streamGenerateContent?alt=sse", ask)

    assert answer.status_code == 429
    assert answer.json() == refusal("tokens", "TokensPerMinutePerKey", 5, 60, id_of_key(limited))
    assert limited.get(TUNED).status_code == 200


def test_an_access_token_draws_on_the_budget_of_its_key(limited):
    headers = bearer(limited.token("cloud-platform"))
    for _ in range(2):
        assert limited.get(TUNED, key="", headers=headers).status_code == 200

    assert limited.get(TUNED, key="", headers=headers).status_code == 429
    assert limited.get(TUNED).status_code == 429


def test_a_tuning_job_too_many_is_told(limited):
    limited.create()

    answer = limited.post(TUNED, TUTORIAL_BODY)

    assert answer.headers["retry-after"] == "30"
    assert answer.json() == refusal("concurrent_tuning_jobs", "ConcurrentTuningJobsPerKey", 1, 30, id_of_key(limited))


def test_waiting_for_a_job_is_free(limited):
    name = limited.create()
    operation = limited.operation_of(name)

    for _ in range(20):
        assert limited.get(f"/v1/{operation}").status_code == 200
        assert limited.get(f"/v1beta/{name}").status_code == 200


def test_a_stranger_uses_nobodys_budget(limited):
    for _ in range(10):
        limited.get(TUNED, key="nonsense")
        limited.get(TUNED, key="")

    assert limited.get(TUNED).status_code == 200
