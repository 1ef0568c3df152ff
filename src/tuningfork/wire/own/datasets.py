"""Staged datasets: parses requests for them and changes of them, and renders them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuningfork.domain.errors import FieldViolation, Reason
from tuningfork.domain.staged_dataset import DatasetChange, RowsKind, StagedDataset
from tuningfork.wire.google.proto_json.decode import decode, decode_query
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message, Rule
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.proto_json.text import read
from tuningfork.wire.google.requests import RequestWords, refused

_PACKAGE = "tuningfork.v1"
_MOST_SHOWN_UNREAD = 200

COLUMN = Message(
    f"{_PACKAGE}.Dataset.Column",
    (Field(1, "name", Kind.STRING), Field(2, "role", Kind.STRING), Field(3, "prefix", Kind.STRING)),
)
UNREAD_ROW = Message(
    f"{_PACKAGE}.Dataset.UnreadRow",
    (Field(1, "place", Kind.STRING), Field(2, "problem", Kind.STRING), Field(3, "advice", Kind.STRING)),
)
DATASET = Message(
    f"{_PACKAGE}.Dataset",
    (
        Field(1, "name", Kind.STRING, rule=Rule.OUTPUT_ONLY),
        Field(2, "display_name", Kind.STRING, presence=True),
        Field(3, "source_name", Kind.STRING, rule=Rule.OUTPUT_ONLY),
        Field(4, "format", Kind.STRING, rule=Rule.OUTPUT_ONLY),
        Field(5, "kind", Kind.STRING, rule=Rule.OUTPUT_ONLY),
        Field(6, "conversation_form", Kind.STRING, rule=Rule.OUTPUT_ONLY),
        Field(7, "row_count", Kind.INT32, presence=True, rule=Rule.OUTPUT_ONLY),
        Field(8, "revision", Kind.INT32, presence=True, rule=Rule.OUTPUT_ONLY),
        Field(9, "undoable_edits", Kind.INT32, rule=Rule.OUTPUT_ONLY),
        Field(10, "last_edit", Kind.STRING, rule=Rule.OUTPUT_ONLY),
        Field(11, "columns", COLUMN, repeated=True),
        Field(12, "columns_settled", Kind.BOOL, rule=Rule.OUTPUT_ONLY),
        Field(13, "columns_reason", Kind.STRING, rule=Rule.OUTPUT_ONLY),
        Field(14, "unread_rows", UNREAD_ROW, repeated=True, rule=Rule.OUTPUT_ONLY),
        Field(15, "unread_row_count", Kind.INT32, rule=Rule.OUTPUT_ONLY),
        Field(16, "unread_rows_accepted", Kind.BOOL, rule=Rule.OUTPUT_ONLY),
        Field(17, "notes", Kind.STRING, repeated=True, rule=Rule.OUTPUT_ONLY),
        Field(18, "size_bytes", Kind.INT32, rule=Rule.OUTPUT_ONLY),
        Field(19, "draft", Kind.JSON, presence=True),
        Field(20, "create_time", Kind.TIMESTAMP, rule=Rule.OUTPUT_ONLY),
        Field(21, "update_time", Kind.TIMESTAMP, rule=Rule.OUTPUT_ONLY),
        Field(22, "expire_time", Kind.TIMESTAMP, rule=Rule.OUTPUT_ONLY),
    ),
)
DATASETS = Message(
    f"{_PACKAGE}.ListDatasetsResponse",
    (Field(1, "datasets", DATASET, repeated=True), Field(2, "next_page_token", Kind.STRING)),
)
CREATE_DATASET_QUERY = Message(
    f"{_PACKAGE}.CreateDatasetRequest",
    (
        Field(1, "name", Kind.STRING),
        Field(2, "display_name", Kind.STRING),
        Field(3, "header", Kind.BOOL, presence=True),
    ),
)
DATASETS_QUERY = Message(
    f"{_PACKAGE}.ListDatasetsRequest",
    (Field(1, "page_size", Kind.INT32), Field(2, "page_token", Kind.STRING)),
)
CREATE = RequestWords("CreateDatasetRequest")
LIST = RequestWords("ListDatasetsRequest", sentences=False)
UPDATE = RequestWords("UpdateDatasetRequest", {"": "dataset."})


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadQuery:
    """What a caller says of the file that they upload. `header` None: the file tells."""

    name: str
    display_name: str
    header: bool | None


def parse_upload(query: Mapping[str, str]) -> UploadQuery:
    """What the parameters of an upload say.

    Raises:
        InvalidArgument: a parameter is unknown or malformed.

    """
    asked = decode_query(CREATE_DATASET_QUERY, query)
    return UploadQuery(
        name=asked.get("name", ""), display_name=asked.get("display_name", ""), header=asked.get("header")
    )


def parse_list(query: Mapping[str, str]) -> tuple[int | None, str]:
    """The size and the token of the page that a query asks for.

    Raises:
        InvalidArgument: a parameter is unknown or malformed.

    """
    fields = decode_query(DATASETS_QUERY, query)
    return fields.get("page_size"), fields.get("page_token", "")


def parse_change(body: bytes) -> DatasetChange:
    """What a caller wants to change: the fields that are in the body.

    Raises:
        InvalidArgument: the body is no Dataset, or its draft is no object.

    """
    fields = decode(DATASET, read(body), "dataset")
    draft = fields.get("draft")
    if draft is not None and not isinstance(draft, dict):
        described = "draft must be a JSON object"
        violation = FieldViolation(field="dataset.draft", description=described, reason=Reason.MALFORMED)
        raise refused(UPDATE.request, (violation,))
    return DatasetChange(display_name=fields.get("display_name"), draft=draft, columns=fields.get("columns"))


def render_dataset(dataset: StagedDataset) -> Typed:
    """A dataset with its draft."""
    return Typed(DATASET, fields_of(dataset))


def render_datasets(datasets: Sequence[StagedDataset], next_page_token: str) -> Typed:
    """One page of the list, without drafts."""
    shown = [fields_of(dataset, in_full=False) for dataset in datasets]
    return Typed(DATASETS, {"datasets": shown, "next_page_token": next_page_token})


def dataset_name(dataset_id: str) -> str:
    """The name of a dataset in the API."""
    return f"datasets/{dataset_id}"


def fields_of(dataset: StagedDataset, *, in_full: bool = True) -> dict[str, Any]:
    """The fields of a dataset; without what is unread and the draft unless it is wanted `in_full`."""
    file = dataset.read
    is_table = file.kind is RowsKind.PAIRS
    fields: dict[str, Any] = {
        "name": dataset_name(dataset.id),
        "display_name": dataset.display_name,
        "source_name": dataset.source_name,
        "format": file.format,
        "kind": file.kind.value,
        "conversation_form": file.form,
        "row_count": dataset.row_count,
        "revision": dataset.revision,
        "undoable_edits": len(dataset.edits),
        "last_edit": dataset.edits[-1].said if dataset.edits else "",
        "columns": [
            {"name": column.name, "role": column.role.value, "prefix": column.prefix} for column in dataset.columns
        ],
        "columns_settled": dataset.columns_settled or not is_table,
        "columns_reason": dataset.columns_reason if is_table else "",
        "unread_row_count": file.unread_count,
        "unread_rows_accepted": dataset.unread_accepted,
        "notes": list(file.notes),
        "size_bytes": dataset.size_bytes,
        "create_time": dataset.create_time,
        "update_time": dataset.update_time,
        "expire_time": dataset.expire_time,
    }
    if in_full:
        fields["unread_rows"] = [
            {"place": each.place, "problem": each.problem, "advice": each.advice}
            for each in file.unread[:_MOST_SHOWN_UNREAD]
        ]
        if dataset.draft:
            fields["draft"] = json.loads(dataset.draft)
    return fields
