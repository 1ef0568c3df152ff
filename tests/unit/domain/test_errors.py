"""The error tree."""

import pickle

import pytest

from tuningfork.domain import errors
from tuningfork.domain.errors import (
    ApiKeyNotValid,
    ApiKeyRequired,
    CallerUnknown,
    ErrorInfo,
    FieldViolation,
    InvalidArgument,
    QuotaExceeded,
    QuotaViolation,
    RpcCode,
    ScopeInsufficient,
    TokenNotValid,
    TuningforkError,
)
from tuningfork.execution.base import WorkerDied


def tree(root=TuningforkError):
    return {root}.union(*(tree(kind) for kind in root.__subclasses__()))


def test_every_class_of_the_tree_has_a_code_of_its_own_meaning():
    assert {kind.code for kind in tree() if kind is not TuningforkError} == {
        RpcCode.INVALID_ARGUMENT,
        RpcCode.NOT_FOUND,
        RpcCode.ALREADY_EXISTS,
        RpcCode.PERMISSION_DENIED,
        RpcCode.RESOURCE_EXHAUSTED,
        RpcCode.FAILED_PRECONDITION,
        RpcCode.CANCELLED,
        RpcCode.UNIMPLEMENTED,
        RpcCode.INTERNAL,
        RpcCode.UNAVAILABLE,
        RpcCode.UNAUTHENTICATED,
    }


def test_every_class_of_this_room_is_drawn_in_the_tree():
    drawn = errors.__doc__ or ""
    missing = [kind.__name__ for kind in tree() if kind.__module__ == errors.__name__ and kind.__name__ not in drawn]
    assert missing == []


def test_many_violations_make_one_error_with_a_line_each():
    violations = (
        FieldViolation(field="display_name", description="too long"),
        FieldViolation(field="", description="no examples"),
    )
    error = InvalidArgument.of("TuningRequest", violations)
    assert error.message == "* TuningRequest.display_name: too long\n* TuningRequest: no examples\n"
    assert error.violations == violations


@pytest.mark.parametrize(
    "error",
    [
        InvalidArgument.of("TuningRequest", (FieldViolation(field="a", description="b"),)),
        TuningforkError("said", info=ErrorInfo(reason="WHY", metadata=(("service", "x"),))),
        WorkerDied("The trainer ended."),
        ApiKeyNotValid(),
        CallerUnknown(),
        ApiKeyRequired(),
        ScopeInsufficient("a.b.C", ("x", "y")),
        TokenNotValid(),
        TokenNotValid("a.b.C"),
        QuotaExceeded(QuotaViolation(metric="m", id="i", value=3, dimensions=(("key", "k"),)), 11.2),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_crosses_a_process_border_whole(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (copy.message, copy.violations, copy.info, copy.code) == (
        error.message,
        error.violations,
        error.info,
        error.code,
    )
    assert vars(copy) == vars(error)


@pytest.mark.parametrize(("wait_seconds", "told"), [(0.0, 1), (0.2, 1), (1.0, 1), (11.2, 12), (60.0, 60)])
def test_who_comes_back_when_told_does_not_come_too_early(wait_seconds, told):
    error = QuotaExceeded(QuotaViolation(metric="m", id="i", value=3), wait_seconds)

    assert error.retry_seconds == told
    assert error.message.endswith(f"limit: 3\nPlease retry in {told}s.")


def test_a_bad_key_is_told_in_the_services_words():
    assert ApiKeyNotValid().message == "API key not valid. Please pass a valid API key."
    assert ApiKeyNotValid().info.reason == "API_KEY_INVALID"
