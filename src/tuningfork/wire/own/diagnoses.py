"""Renders what the losses of tuning jobs give reason to warn of."""

from collections.abc import Mapping, Sequence

from tuningfork.domain.findings import Finding, FindingKind
from tuningfork.domain.tuning_job import TuningJob
from tuningfork.wire.gemini.names import tuned_name
from tuningfork.wire.google.proto_json.decode import decode_query
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.google.proto_json.encode import Typed

FINDING = Message(
    "tuningfork.v1.Diagnosis.Finding",
    (
        Field(1, "kind", Kind.STRING),
        Field(2, "description", Kind.STRING),
        Field(3, "advice", Kind.STRING),
    ),
)
DIAGNOSIS = Message(
    "tuningfork.v1.Diagnosis",
    (
        Field(1, "tuned_model", Kind.STRING),
        Field(2, "completed_steps", Kind.INT32, presence=True),
        Field(3, "findings", FINDING, repeated=True),
    ),
)
DIAGNOSES = Message(
    "tuningfork.v1.ListDiagnosesResponse",
    (Field(1, "diagnoses", DIAGNOSIS, repeated=True), Field(2, "next_page_token", Kind.STRING)),
)
DIAGNOSES_QUERY = Message(
    "tuningfork.v1.ListDiagnosesRequest",
    (Field(1, "page_size", Kind.INT32), Field(2, "page_token", Kind.STRING)),
)


def parse_list(query: Mapping[str, str]) -> tuple[int | None, str]:
    """The size and the token of the page that a query asks for.

    Raises:
        InvalidArgument: a parameter is unknown or malformed.

    """
    fields = decode_query(DIAGNOSES_QUERY, query)
    return fields.get("page_size"), fields.get("page_token", "")


def render_diagnosis(job: TuningJob, findings: Sequence[Finding]) -> Typed:
    """What the losses of one job so far give reason to warn of."""
    fields = {
        "tuned_model": tuned_name(job.model_id),
        "completed_steps": job.completed_steps,
        "findings": [
            {"kind": each.kind.value, "description": each.description, "advice": each.advice} for each in findings
        ],
    }
    return Typed(DIAGNOSIS, fields)


def render_diagnoses(found: Sequence[tuple[TuningJob, Sequence[FindingKind]]], next_page_token: str) -> Typed:
    """One page of the list, with the kinds of findings alone."""
    diagnoses = [
        {
            "tuned_model": tuned_name(job.model_id),
            "completed_steps": job.completed_steps,
            "findings": [{"kind": kind.value} for kind in kinds],
        }
        for job, kinds in found
    ]
    return Typed(DIAGNOSES, {"diagnoses": diagnoses, "next_page_token": next_page_token})
