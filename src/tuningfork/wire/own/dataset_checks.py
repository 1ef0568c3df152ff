"""Checks of staged datasets: parses what a dataset is to be checked for, and renders what was found."""

from collections.abc import Sequence
from typing import Any

from tuningfork.domain.data_findings import MOST_ROWS_OF_A_FINDING, CheckedDataset, CheckPurpose, DataFinding
from tuningfork.domain.errors import FieldViolation, Reason
from tuningfork.domain.staged_dataset import StagedDataset
from tuningfork.wire.gemini.names import tuned_id
from tuningfork.wire.google.proto_json.decode import Fields, decode
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.proto_json.text import read
from tuningfork.wire.google.requests import RequestWords, refused
from tuningfork.wire.own.datasets import DATASET, fields_of

_PACKAGE = "tuningfork.v1"

PURPOSE = (
    Field(1, "base_model", Kind.STRING),
    Field(2, "tuned_model", Kind.STRING),
    Field(3, "held_out_percent", Kind.DOUBLE),
)
FOUND_ROW = Message(
    f"{_PACKAGE}.Finding.Row",
    (Field(1, "id", Kind.INT32, presence=True), Field(2, "number", Kind.INT32)),
)
OFFERED_FIX = Message(
    f"{_PACKAGE}.Finding.Fix",
    (Field(1, "id", Kind.STRING), Field(2, "title", Kind.STRING), Field(3, "changes", Kind.INT32)),
)
VALUE = Message(
    f"{_PACKAGE}.Finding.Value", (Field(1, "text", Kind.STRING, presence=True), Field(2, "count", Kind.INT32))
)
FINDING = Message(
    f"{_PACKAGE}.Finding",
    (
        Field(1, "id", Kind.STRING),
        Field(2, "severity", Kind.STRING),
        Field(3, "title", Kind.STRING),
        Field(4, "description", Kind.STRING),
        Field(5, "count", Kind.INT32, presence=True),
        Field(6, "rows", FOUND_ROW, repeated=True),
        Field(7, "column", Kind.STRING),
        Field(8, "fixes", OFFERED_FIX, repeated=True),
        Field(9, "values", VALUE, repeated=True),
    ),
)
LENGTHS = Message(
    f"{_PACKAGE}.CheckDatasetResponse.Lengths",
    (
        Field(1, "from", Kind.INT32, presence=True),
        Field(2, "to", Kind.INT32),
        Field(3, "count", Kind.INT32, presence=True),
    ),
)
CHECK = Message(f"{_PACKAGE}.CheckDatasetRequest", PURPOSE)
CHECKED = Message(
    f"{_PACKAGE}.CheckDatasetResponse",
    (
        Field(1, "findings", FINDING, repeated=True),
        Field(2, "row_count", Kind.INT32, presence=True),
        Field(3, "example_count", Kind.INT32, presence=True),
        Field(4, "character_count", Kind.INT32, presence=True),
        Field(5, "longest_input_characters", Kind.INT32, presence=True),
        Field(6, "longest_output_characters", Kind.INT32, presence=True),
        Field(7, "lengths", LENGTHS, repeated=True),
        Field(8, "revision", Kind.INT32, presence=True),
        Field(9, "token_count", Kind.INT32, presence=True),
        Field(10, "longest_token_count", Kind.INT32, presence=True),
        Field(11, "context_token_count", Kind.INT32, presence=True),
    ),
)
FIX = Message(
    f"{_PACKAGE}.FixDatasetRequest",
    (*PURPOSE, Field(4, "finding", Kind.STRING), Field(5, "fix", Kind.STRING)),
)
FIXED = Message(
    f"{_PACKAGE}.FixDatasetResponse",
    (Field(1, "dataset", DATASET), Field(2, "changed_row_count", Kind.INT32, presence=True)),
)
CHECK_WORDS = RequestWords("CheckDatasetRequest", method="createTunedModel")
FIX_WORDS = RequestWords("FixDatasetRequest", method="createTunedModel")


def parse_check(body: bytes) -> CheckPurpose:
    """What a dataset is to be checked for.

    Raises:
        InvalidArgument: the body is malformed, or a name.

    """
    return purpose_of(decode(CHECK, read(body or b"{}")), CHECK_WORDS.request)


def parse_fix(body: bytes) -> tuple[CheckPurpose, str, str]:
    """What a dataset is checked for, and the finding and the fix.

    Raises:
        InvalidArgument: the body is malformed, or a name.

    """
    fields = decode(FIX, read(body))
    return purpose_of(fields, FIX_WORDS.request), fields.get("finding", ""), fields.get("fix", "")


def purpose_of(fields: Fields, request: str) -> CheckPurpose:
    """What is to be tuned, from the fields of a request.

    Raises:
        InvalidArgument: the tuned model's name is none.

    """
    name = fields.get("tuned_model", "")
    tuned = tuned_id(name) if name else None
    if name and tuned is None:
        described = "tuned_model must be the name of a tuned model, such as tunedModels/..."
        violation = FieldViolation(field="tuned_model", description=described, reason=Reason.MALFORMED)
        raise refused(request, (violation,))
    held_out = bool(fields.get("held_out_percent"))
    return CheckPurpose(base_model=fields.get("base_model", ""), tuned_model=tuned, held_out=held_out)


def render_check(checked: CheckedDataset) -> Typed:
    """What was found."""
    report, sizes = checked.report, checked.tokens
    fields: dict[str, Any] = {
        "findings": [_finding(each, checked.numbers[each.kind]) for each in report.findings],
        "row_count": report.row_count,
        "example_count": report.example_count,
        "character_count": report.characters,
        "longest_input_characters": report.longest_input,
        "longest_output_characters": report.longest_output,
        "lengths": [{"from": each.least, "to": each.below, "count": each.count} for each in report.lengths],
        "revision": checked.dataset.revision,
    }
    if sizes is not None:
        fields |= {
            "token_count": sizes.total_tokens,
            "longest_token_count": sizes.longest_tokens,
            "context_token_count": sizes.context_tokens,
        }
    return Typed(CHECKED, fields)


def render_fix(dataset: StagedDataset, rows: int) -> Typed:
    """A dataset after a fix, and how many rows the fix has changed or removed."""
    return Typed(FIXED, {"dataset": fields_of(dataset), "changed_row_count": rows})


def _finding(finding: DataFinding, numbers: Sequence[int]) -> dict[str, Any]:
    return {
        "id": finding.kind.value,
        "severity": finding.kind.severity.value,
        "title": finding.title,
        "description": finding.description,
        "count": finding.count,
        "rows": [
            {"id": row_id, "number": number}
            for row_id, number in zip(finding.rows[:MOST_ROWS_OF_A_FINDING], numbers, strict=False)
        ],
        "column": finding.column,
        "fixes": [{"id": each.fix.value, "title": each.title, "changes": each.rows} for each in finding.fixes],
        "values": [{"text": text, "count": count} for text, count in finding.values],
    }
