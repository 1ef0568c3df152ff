"""The parts of the rule that have no table of their own: completeness, and the few calls that stand apart."""

import pytest

from tuningfork.dialect.gemini.methods import GeminiMethod
from tuningfork.dialect.method import Method
from tuningfork.dialect.own.methods import OwnMethod
from tuningfork.dialect.scopes import Scope
from tuningfork.domain.authorization import (
    CallDecision,
    Credential,
    CredentialKind,
    decide,
    decide_caller,
    decide_role,
)
from tuningfork.domain.permission import Action, Role

METHODS = (*GeminiMethod, *OwnMethod)
MAKING_TOKENS = [
    OwnMethod.CREATE_ACCESS_TOKEN,
    OwnMethod.CREATE_REFRESH_TOKEN,
    OwnMethod.LIST_REFRESH_TOKENS,
    OwnMethod.REVOKE_REFRESH_TOKEN,
    OwnMethod.CREATE_SERVICE_ACCOUNT,
    OwnMethod.LIST_SERVICE_ACCOUNTS,
    OwnMethod.REVOKE_SERVICE_ACCOUNT,
    OwnMethod.CREATE_KEY,
]
"""Only a key makes credentials, and lists and revokes those it made."""
FOR_CLOUD_PLATFORM = [
    OwnMethod.LIST_SESSIONS,
    OwnMethod.END_SESSION,
    OwnMethod.LIST_KEYS,
    OwnMethod.REVOKE_KEY,
    OwnMethod.GET_QUEUE,
    OwnMethod.CANCEL_JOB,
    OwnMethod.GET_ENGINES,
]
"""Other people's sign-ins, keys and jobs, and the whole server: a scope of the Gemini API alone does not reach them."""
WITHOUT_A_MODEL = [
    OwnMethod.CREATE_DATASET,
    OwnMethod.READ_DATASETS,
    OwnMethod.CHANGE_DATASETS,
    OwnMethod.TRY_DATASETS,
    OwnMethod.READ_EVALUATIONS,
    OwnMethod.CHANGE_EVALUATIONS,
    OwnMethod.CREATE_SESSION,
    OwnMethod.END_CURRENT_SESSION,
    OwnMethod.GET_CALLER,
]
KEY = Credential(kind=CredentialKind.API_KEY)


def token(*scopes: str) -> Credential:
    return Credential(kind=CredentialKind.ACCESS_TOKEN, scopes=frozenset(scopes))


def test_every_method_has_scopes_and_an_action() -> None:
    named = [method.full_name for method in METHODS]
    assert len(set(named)) == len(named)
    assert [method for method in METHODS if not method.requirement.scopes] == MAKING_TOKENS
    assert {method for method in METHODS if method.requirement.action is None} == {
        GeminiMethod.LIST_MODELS,
        GeminiMethod.GET_MODEL,
        GeminiMethod.LIST_TUNED_MODELS,
        *MAKING_TOKENS,
        *(method for method in FOR_CLOUD_PLATFORM if method is not OwnMethod.CANCEL_JOB),
        *WITHOUT_A_MODEL,
        # There is no model yet of which it would need a role.
        OwnMethod.IMPORT_TUNED_MODEL,
    }


@pytest.mark.parametrize("method", FOR_CLOUD_PLATFORM)
def test_the_broad_scope_of_the_gemini_api_does_not_reach_the_whole_server(method: Method) -> None:
    assert decide_caller(method.requirement, token(Scope.CLOUD_PLATFORM)) is CallDecision.ALLOWED
    assert decide_caller(method.requirement, token(Scope.GENERATIVE_LANGUAGE)) is CallDecision.SCOPE_INSUFFICIENT


@pytest.mark.parametrize("scope", [Scope.CLOUD_PLATFORM, Scope.GENERATIVE_LANGUAGE])
@pytest.mark.parametrize("method", [each for each in METHODS if each not in (*MAKING_TOKENS, *FOR_CLOUD_PLATFORM)])
def test_the_two_broad_scopes_suffice_for_everything(method: Method, scope: Scope) -> None:
    assert decide_caller(method.requirement, token(scope)) is CallDecision.ALLOWED


@pytest.mark.parametrize(
    ("scope", "allowed", "refused"),
    [
        (Scope.TUNING, GeminiMethod.CREATE_TUNED_MODEL, OwnMethod.CREATE_ACCESS_TOKEN),
        (Scope.TUNING_READONLY, GeminiMethod.GET_OPERATION, GeminiMethod.CANCEL_OPERATION),
        (Scope.TUNING_READONLY, OwnMethod.EXPORT_ADAPTER, OwnMethod.PREVIEW_TUNED_MODEL),
        (Scope.RETRIEVER_READONLY, GeminiMethod.GENERATE_CONTENT, GeminiMethod.LIST_TUNED_MODELS),
    ],
)
def test_a_narrow_scope_is_good_for_its_methods_only(scope: Scope, allowed: Method, refused: Method) -> None:
    assert decide_caller(allowed.requirement, token(scope)) is CallDecision.ALLOWED
    assert decide_caller(refused.requirement, token(scope)) is not CallDecision.ALLOWED


def test_any_one_of_the_scopes_is_enough() -> None:
    assert (
        decide_caller(GeminiMethod.DELETE_TUNED_MODEL.requirement, token("openid", Scope.TUNING))
        is CallDecision.ALLOWED
    )


def test_a_token_without_scopes_is_good_for_nothing() -> None:
    assert {decide_caller(method.requirement, token()) for method in METHODS if method not in MAKING_TOKENS} == {
        CallDecision.SCOPE_INSUFFICIENT
    }


@pytest.mark.parametrize("method", MAKING_TOKENS)
def test_no_token_makes_tokens(method: Method) -> None:
    assert decide_caller(method.requirement, token(*Scope)) is CallDecision.API_KEY_REQUIRED
    assert decide_caller(method.requirement, KEY) is CallDecision.ALLOWED


@pytest.mark.parametrize("method", METHODS)
def test_nobody_calls_anything_without_a_credential(method: Method) -> None:
    assert decide(method.requirement, Credential(kind=CredentialKind.NONE), Role.OWNER) is CallDecision.CALLER_UNKNOWN


def test_a_scope_does_not_make_up_for_a_role_nor_a_role_for_a_scope() -> None:
    assert (
        decide(GeminiMethod.DELETE_TUNED_MODEL.requirement, token(Scope.CLOUD_PLATFORM), Role.WRITER)
        is CallDecision.ROLE_INSUFFICIENT
    )
    assert (
        decide(GeminiMethod.DELETE_TUNED_MODEL.requirement, token(Scope.TUNING_READONLY), Role.OWNER)
        is CallDecision.SCOPE_INSUFFICIENT
    )
    assert decide(GeminiMethod.DELETE_TUNED_MODEL.requirement, KEY, Role.OWNER) is CallDecision.ALLOWED


def test_a_method_without_a_model_asks_for_no_role() -> None:
    assert decide(GeminiMethod.LIST_TUNED_MODELS.requirement, KEY, None) is CallDecision.ALLOWED


def test_a_stranger_has_no_role() -> None:
    assert {decide_role(action, None) for action in Action} == {CallDecision.ROLE_INSUFFICIENT}
