"""Domain faults under their wire names."""

import pytest

from spoken import rendered
from tuningfork.domain.errors import (
    ApiKeyNotValid,
    Code,
    FieldViolation,
    InvalidArgument,
    NotFound,
)
from tuningfork.wire.gemini.tuning import CREATE
from tuningfork.wire.google.errors import ErrorInfo, Printed, render_error
from tuningfork.wire.google.generation import GENERATE
from tuningfork.wire.google.requests import RequestWords, refused

TASK = "tuned_model.tuning_task"


@pytest.mark.parametrize(
    ("relocation", "inner", "outer"),
    [
        (CREATE, "tuned_model_id", "tuned_model_id"),
        (CREATE, "display_name", "tuned_model.display_name"),
        (CREATE, "temperature", "tuned_model.temperature"),
        (CREATE, "examples[3].output", f"{TASK}.training_data.examples.examples[3].output"),
        (CREATE, "hyperparameters", f"{TASK}.hyperparameters"),
        (CREATE, "hyperparameters.batch_size", f"{TASK}.hyperparameters.batch_size"),
        (GENERATE, "prompt", "contents"),
        (GENERATE, "prompt.turns", "contents.turns"),
        (GENERATE, "prompt.system_instruction", "system_instruction"),
        (GENERATE, "sampling.stop_sequences[1]", "generation_config.stop_sequences[1]"),
        (GENERATE, "model", "model"),
        (GENERATE, "promptness", "promptness"),
    ],
)
def test_each_domain_path_has_its_place_on_the_wire(relocation, inner, outer):
    assert relocation.place(inner) == outer


def test_a_moved_error_has_a_line_and_a_violation_for_each_fault():
    error = InvalidArgument(
        violations=(
            FieldViolation(field="examples", description="at least one example is required"),
            FieldViolation(field="display_name", description="display_name must be at most 40 characters; it has 41"),
        ),
    )

    moved = CREATE.translate(error)

    assert moved.message == (
        "* CreateTunedModelRequest.tuned_model.tuning_task.training_data: at least one example is required\n"
        "* CreateTunedModelRequest.tuned_model.display_name: display_name must be at most 40 characters; it has 41\n"
    )
    assert moved.violations == (
        FieldViolation(
            field=f"{TASK}.training_data.examples.examples", description="At least one example is required."
        ),
        FieldViolation(
            field="tuned_model.display_name", description="display_name must be at most 40 characters; it has 41."
        ),
    )


def test_many_violations_make_one_error_with_a_line_each():
    violations = (
        FieldViolation(field="display_name", description="too long"),
        FieldViolation(field="", description="no examples"),
    )
    error = refused("TuningRequest", violations)
    assert error.message == "* TuningRequest.display_name: too long\n* TuningRequest: no examples\n"
    assert error.violations == violations


def test_an_error_that_names_no_field_stays_as_it_is():
    error = InvalidArgument("Developer instruction is not enabled for models/abc")

    assert GENERATE.translate(error) is error


def test_an_error_without_details_has_none():
    assert rendered(NotFound("no such thing")) == {
        "error": {"code": 404, "message": "no such thing", "status": "NOT_FOUND"}
    }


def test_reasons_come_before_violations_and_each_says_what_it_is():
    error = Printed(code=Code.PERMISSION_DENIED, message="no", info=ErrorInfo(reason="WHY", metadata=(("a", "b"),)))

    assert render_error(error)["error"]["details"] == [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "WHY",
            "domain": "googleapis.com",
            "metadata": {"a": "b"},
        }
    ]


def test_a_bad_key_is_told_in_english_too():
    details = rendered(ApiKeyNotValid())["error"]["details"]

    assert [detail["@type"].rpartition(".")[2] for detail in details] == ["ErrorInfo", "LocalizedMessage"]
    assert details[1]["locale"] == "en-US"


def test_the_longest_place_wins():
    relocation = RequestWords("Request", {"a": "x", "a.b": "y", "": "z."})

    assert [relocation.place(path) for path in ("a", "a.c", "a.b", "a.b.c", "a[0]", "ab")] == [
        "x",
        "x.c",
        "y",
        "y.c",
        "x[0]",
        "z.ab",
    ]
