"""The parts of the rule that have no table of their own: completeness, and the few calls that stand apart."""

import pytest

from tuningfork.domain.authorization import (
    ACTIONS,
    SCOPES,
    Credential,
    CredentialKind,
    Scope,
    Verdict,
    decide,
    decide_caller,
    decide_role,
)
from tuningfork.domain.method import Method
from tuningfork.domain.permission import Action, Role

KEY = Credential(kind=CredentialKind.API_KEY)


def token(*scopes: str) -> Credential:
    return Credential(kind=CredentialKind.ACCESS_TOKEN, scopes=frozenset(scopes))


def test_every_method_has_scopes_and_an_action() -> None:
    assert set(SCOPES) == set(Method)
    assert set(ACTIONS) == set(Method)


@pytest.mark.parametrize("scope", [Scope.CLOUD_PLATFORM, Scope.GENERATIVE_LANGUAGE])
@pytest.mark.parametrize("method", [method for method in Method if method is not Method.CREATE_ACCESS_TOKEN])
def test_the_two_broad_scopes_suffice_for_everything(method: Method, scope: Scope) -> None:
    assert decide_caller(method, token(scope)) is Verdict.ALLOWED


@pytest.mark.parametrize(
    ("scope", "allowed", "refused"),
    [
        (Scope.TUNING, Method.CREATE_TUNED_MODEL, Method.CREATE_ACCESS_TOKEN),
        (Scope.TUNING_READONLY, Method.GET_OPERATION, Method.CANCEL_OPERATION),
        (Scope.TUNING_READONLY, Method.EXPORT_ADAPTER, Method.PREVIEW_TUNED_MODEL),
        (Scope.RETRIEVER_READONLY, Method.GENERATE_CONTENT, Method.LIST_TUNED_MODELS),
    ],
)
def test_a_narrow_scope_is_good_for_its_methods_only(scope: Scope, allowed: Method, refused: Method) -> None:
    assert decide_caller(allowed, token(scope)) is Verdict.ALLOWED
    assert decide_caller(refused, token(scope)) is not Verdict.ALLOWED


def test_any_one_of_the_scopes_is_enough() -> None:
    assert decide_caller(Method.DELETE_TUNED_MODEL, token("openid", Scope.TUNING)) is Verdict.ALLOWED


def test_a_token_without_scopes_is_good_for_nothing() -> None:
    assert {decide_caller(method, token()) for method in Method if method is not Method.CREATE_ACCESS_TOKEN} == {
        Verdict.SCOPE_INSUFFICIENT
    }


def test_no_token_makes_tokens() -> None:
    assert decide_caller(Method.CREATE_ACCESS_TOKEN, token(*Scope)) is Verdict.API_KEY_REQUIRED
    assert decide_caller(Method.CREATE_ACCESS_TOKEN, KEY) is Verdict.ALLOWED


@pytest.mark.parametrize("method", list(Method))
def test_nobody_calls_anything_without_a_credential(method: Method) -> None:
    assert decide(method, Credential(kind=CredentialKind.NONE), Role.OWNER) is Verdict.CALLER_UNKNOWN


def test_a_scope_does_not_make_up_for_a_role_nor_a_role_for_a_scope() -> None:
    assert decide(Method.DELETE_TUNED_MODEL, token(Scope.CLOUD_PLATFORM), Role.WRITER) is Verdict.ROLE_INSUFFICIENT
    assert decide(Method.DELETE_TUNED_MODEL, token(Scope.TUNING_READONLY), Role.OWNER) is Verdict.SCOPE_INSUFFICIENT
    assert decide(Method.DELETE_TUNED_MODEL, KEY, Role.OWNER) is Verdict.ALLOWED


def test_a_method_without_a_model_asks_for_no_role() -> None:
    assert decide(Method.LIST_TUNED_MODELS, KEY, None) is Verdict.ALLOWED


def test_a_stranger_has_no_role() -> None:
    assert {decide_role(action, None) for action in Action} == {Verdict.ROLE_INSUFFICIENT}
