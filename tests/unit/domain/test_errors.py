"""The error tree."""

import pickle

import pytest

from spoken import said
from tuningfork.domain import errors, refusals
from tuningfork.domain.errors import (
    ApiKeyNotValid,
    ApiKeyRequired,
    CallerUnknown,
    Code,
    FieldViolation,
    InvalidArgument,
    Quota,
    QuotaExceeded,
    ScopeInsufficient,
    TokenNotValid,
    TuningforkError,
)
from tuningfork.domain.references import TunedRef
from tuningfork.domain.refusals import LastTurnNotUsers, ModelNotUsable, Purpose, ResourceNotFound, WeightsLost
from tuningfork.domain.tuned_model import ModelState, TunedModelId
from tuningfork.execution.base import WorkerDied
from tuningfork.wire.google.errors import info_of


def tree(root=TuningforkError):
    return {root}.union(*(tree(kind) for kind in root.__subclasses__()))


def test_every_class_of_the_tree_has_a_code_of_its_own_meaning():
    assert {kind.code for kind in tree() if kind is not TuningforkError} == {
        Code.INVALID_ARGUMENT,
        Code.NOT_FOUND,
        Code.ALREADY_EXISTS,
        Code.PERMISSION_DENIED,
        Code.RESOURCE_EXHAUSTED,
        Code.FAILED_PRECONDITION,
        Code.CANCELLED,
        Code.DEADLINE_EXCEEDED,
        Code.UNIMPLEMENTED,
        Code.INTERNAL,
        Code.UNAVAILABLE,
        Code.UNAUTHENTICATED,
        # Of the room of buckets.
        Code.ABORTED,
        Code.OUT_OF_RANGE,
    }


@pytest.mark.parametrize("module", [errors, refusals], ids=lambda module: module.__name__)
def test_every_class_of_this_room_is_drawn_in_the_tree(module):
    drawn = module.__doc__ or ""
    missing = [kind.__name__ for kind in tree() if kind.__module__ == module.__name__ and kind.__name__ not in drawn]
    assert missing == []


@pytest.mark.parametrize(
    "error",
    [
        InvalidArgument(violations=(FieldViolation(field="a", description="b"),)),
        TuningforkError("said"),
        WorkerDied("The trainer ended."),
        ApiKeyNotValid(),
        CallerUnknown(),
        ApiKeyRequired(),
        ScopeInsufficient("a.b.C", ("x", "y")),
        TokenNotValid(),
        TokenNotValid("a.b.C"),
        QuotaExceeded(Quota.REQUESTS_PER_MINUTE, limit=3, caller="k", retry_seconds=11.2),
        ResourceNotFound(TunedRef(TunedModelId("a"))),
        ModelNotUsable(TunedRef(TunedModelId("a")), ModelState.FAILED, Purpose.EXPORT),
        WeightsLost(TunedRef(TunedModelId("a")), missing=True),
        LastTurnNotUsers(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_crosses_a_process_border_whole(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (copy.message, copy.violations, info_of(copy, "x"), copy.code) == (
        error.message,
        error.violations,
        info_of(error, "x"),
        error.code,
    )
    assert vars(copy) == vars(error)


@pytest.mark.parametrize(("wait_seconds", "told"), [(0.0, 1), (0.2, 1), (1.0, 1), (11.2, 12), (60.0, 60)])
def test_who_comes_back_when_told_does_not_come_too_early(wait_seconds, told):
    error = QuotaExceeded(Quota.REQUESTS_PER_MINUTE, limit=3, caller="", retry_seconds=wait_seconds)

    assert error.retry_seconds == told
    assert said(error).endswith(f"limit: 3\nPlease retry in {told}s.")


def test_a_bad_key_is_told_in_the_services_words():
    assert said(ApiKeyNotValid()) == "API key not valid. Please pass a valid API key."
    assert info_of(ApiKeyNotValid(), "x").reason == "API_KEY_INVALID"
