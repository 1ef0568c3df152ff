"""The messages of Google's APIs in errors about callers and their budgets."""

from collections.abc import Mapping

from tuningfork.domain.errors import (
    ApiKeyNotValid,
    ApiKeyRequired,
    CallerUnknown,
    QuotaExceeded,
    ScopeInsufficient,
    TokenNotValid,
    TuningforkError,
)
from tuningfork.wire.google.errors import quota_violation

_SENTENCES: Mapping[type[TuningforkError], str] = {
    ApiKeyNotValid: "API key not valid. Please pass a valid API key.",
    CallerUnknown: "Method doesn't allow unregistered callers (callers without established identity). "
    "Please use API Key or other form of API consumer identity to call this API.",
    ApiKeyRequired: "Access tokens are made for API keys only, not for other access tokens. Please pass an API key.",
    ScopeInsufficient: "Request had insufficient authentication scopes.",
    TokenNotValid: "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or "
    "other valid authentication credential. See "
    "https://developers.google.com/identity/sign-in/web/devconsole-project.",
}


def sentence_of(error: TuningforkError, service: str) -> str:
    """The APIs' message for an error; the error's own message if the APIs have none for it."""
    if isinstance(error, QuotaExceeded):
        exceeded = quota_violation(error, service)
        return (
            "You exceeded your current quota, please check your plan and billing details.\n"
            f"* Quota exceeded for metric: {exceeded.metric}, limit: {exceeded.value}\n"
            f"Please retry in {error.retry_seconds}s."
        )
    return _SENTENCES.get(type(error), error.message)
