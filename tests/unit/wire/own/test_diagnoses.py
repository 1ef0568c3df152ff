"""What the losses of jobs give reason to warn of, as JSON, and as the client reads it."""

from dataclasses import replace

import pytest

from store_rows import new_job
from tuningfork.client import findings
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.findings import Finding, FindingKind
from tuningfork.wire.google.proto_json.encode import encode
from tuningfork.wire.own.diagnoses import parse_list, render_diagnoses, render_diagnosis

FINDING = Finding(kind=FindingKind.LOSS_ROSE, description="It rose.", advice="Try less.")


@pytest.fixture
def job():
    return replace(new_job("number-generator"), completed_steps=7)


def written(typed):
    return encode(typed.message, typed.fields)


def test_a_diagnosis_is_what_the_client_reads(job):
    answer = written(render_diagnosis(job, [FINDING]))

    assert answer == {
        "tunedModel": "tunedModels/number-generator",
        "completedSteps": 7,
        "findings": [{"kind": "loss_rose", "description": "It rose.", "advice": "Try less."}],
    }
    (read,) = findings.parse_diagnosis(answer)
    assert (read.kind, read.description, read.advice) == ("loss_rose", "It rose.", "Try less.")
    assert read.in_short == FindingKind.LOSS_ROSE.in_short


def test_a_list_has_the_kinds_alone(job):
    answer = written(render_diagnoses([(job, (FindingKind.LOSS_ZERO, FindingKind.OVERFITTING))], "next"))

    (entry,) = answer["diagnoses"]
    name, read = findings.parse_diagnosed(entry)
    assert name == "tunedModels/number-generator"
    assert [each.kind for each in read] == ["loss_zero", "overfitting"]
    assert answer["nextPageToken"] == "next"


def test_pages_are_asked_for_as_everywhere():
    assert parse_list({}) == (None, "")
    assert parse_list({"pageSize": "5", "pageToken": "abc"}) == (5, "abc")
    with pytest.raises(InvalidArgument, match="filter"):
        parse_list({"filter": "x"})
