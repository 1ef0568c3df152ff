"""The table of staged datasets, and that of requests to create tuned models."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, func, or_, select
from sqlalchemy.exc import IntegrityError

from tuningfork.domain.errors import AlreadyExists
from tuningfork.domain.permission import Email
from tuningfork.domain.staged_dataset import (
    ColumnRole,
    Edit,
    ReadFile,
    RowsKind,
    StagedColumn,
    StagedDataset,
    StagedDatasetId,
    UnreadRow,
)
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.store.staging_tables import creation_requests, staged_datasets


class RequestMade(AlreadyExists):
    """Another request of this id has created a model."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"another request with the id {request_id} is creating a model; send it again")


def insert(connection: Connection, dataset: StagedDataset) -> None:
    """Add a dataset."""
    connection.execute(staged_datasets.insert(), _row(dataset))


def find(connection: Connection, dataset_id: StagedDatasetId) -> StagedDataset | None:
    """The dataset with this id; None: there is none."""
    query = select(staged_datasets).where(staged_datasets.c.id == dataset_id)
    row = connection.execute(query).mappings().first()
    return None if row is None else _dataset(row)


def replace_row(connection: Connection, dataset: StagedDataset, *, revision: int) -> bool:
    """Replace a dataset's row if it still has this revision; returns whether it had."""
    columns = staged_datasets.c
    change = staged_datasets.update().where(columns.id == dataset.id, columns.revision == revision)
    return bool(connection.execute(change.values(_row(dataset))).rowcount)


def touch(connection: Connection, dataset_id: StagedDatasetId, now: datetime) -> None:
    """Note that a dataset was used."""
    connection.execute(staged_datasets.update().where(staged_datasets.c.id == dataset_id).values(use_time=now))


def delete(connection: Connection, dataset_id: StagedDatasetId) -> None:
    """Delete a dataset's row."""
    connection.execute(staged_datasets.delete().where(staged_datasets.c.id == dataset_id))


def page_of(
    connection: Connection, owner: Email, after: tuple[datetime, str] | None, limit: int
) -> Sequence[StagedDataset]:
    """At most `limit` datasets of an owner, the newest first; `after`: only those behind this place in the order."""
    columns = staged_datasets.c
    query = select(staged_datasets).where(columns.owner == owner)
    if after is not None:
        time, last = after
        query = query.where(or_(columns.create_time < time, and_(columns.create_time == time, columns.id > last)))
    rows = connection.execute(query.order_by(columns.create_time.desc(), columns.id).limit(limit)).mappings()
    return [_dataset(row) for row in rows]


def used_by(connection: Connection, owner: Email) -> tuple[int, int]:
    """How many datasets an owner has, and how many bytes they take."""
    columns = staged_datasets.c
    query = select(func.count(), func.coalesce(func.sum(columns.size_bytes), 0)).where(columns.owner == owner)
    count, size = connection.execute(query).one()
    return count, int(size)


def all_ids(connection: Connection) -> set[StagedDatasetId]:
    """The ids of all datasets."""
    return {StagedDatasetId(found) for found in connection.execute(select(staged_datasets.c.id)).scalars()}


def unused_since(connection: Connection, time: datetime) -> Sequence[StagedDatasetId]:
    """The datasets that were last used before this time."""
    query = select(staged_datasets.c.id).where(staged_datasets.c.use_time < time)
    return [StagedDatasetId(found) for found in connection.execute(query).scalars()]


def every(connection: Connection) -> Sequence[StagedDataset]:
    """All datasets, in the order of their ids."""
    rows = connection.execute(select(staged_datasets).order_by(staged_datasets.c.id)).mappings()
    return [_dataset(row) for row in rows]


def find_created(connection: Connection, owner: Email, request_id: str) -> TunedModelId | None:
    """The model that an owner's request of this id has made; None: there is none."""
    columns = creation_requests.c
    query = select(columns.model_id).where(columns.owner == owner, columns.request_id == request_id)
    found = connection.execute(query).scalar()
    return None if found is None else TunedModelId(found)


def note_created(connection: Connection, owner: Email, request_id: str, model_id: TunedModelId) -> None:
    """Remember which model a request has made.

    Raises:
        RequestMade: another request of this id has made one.

    """
    row = {"owner": owner, "request_id": request_id, "model_id": model_id}
    try:
        connection.execute(creation_requests.insert(), row)
    except IntegrityError as error:
        raise RequestMade(request_id) from error


def _row(dataset: StagedDataset) -> dict[str, Any]:
    about = {
        "display_name": dataset.display_name,
        "source_name": dataset.source_name,
        "read": asdict(dataset.read),
        "columns": [asdict(column) for column in dataset.columns],
        "columns_settled": dataset.columns_settled,
        "next_row": dataset.next_row,
        "generation": dataset.generation,
        "edits": [[each.number, each.said] for each in dataset.edits],
        "unread_accepted": dataset.unread_accepted,
    }
    return {
        "id": dataset.id,
        "owner": dataset.owner,
        "create_time": dataset.create_time,
        "update_time": dataset.update_time,
        "use_time": dataset.use_time,
        "revision": dataset.revision,
        "row_count": dataset.row_count,
        "size_bytes": dataset.size_bytes,
        "about": about,
        "draft": dataset.draft,
    }


def _dataset(row: RowMapping) -> StagedDataset:
    about: Mapping[str, Any] = row["about"]
    read = about["read"]
    return StagedDataset(
        id=StagedDatasetId(row["id"]),
        owner=Email(row["owner"]),
        display_name=about["display_name"],
        source_name=about["source_name"],
        read=ReadFile(
            format=read["format"],
            kind=RowsKind(read["kind"]),
            form=read["form"],
            columns=_columns(read["columns"]),
            columns_settled=read["columns_settled"],
            columns_reason=read["columns_reason"],
            row_count=read["row_count"],
            unread=tuple(UnreadRow(**each) for each in read["unread"]),
            unread_count=read["unread_count"],
            notes=tuple(read["notes"]),
        ),
        columns=_columns(about["columns"]),
        columns_settled=about["columns_settled"],
        row_count=row["row_count"],
        next_row=about["next_row"],
        size_bytes=row["size_bytes"],
        create_time=row["create_time"],
        update_time=row["update_time"],
        use_time=row["use_time"],
        revision=row["revision"],
        generation=about["generation"],
        edits=tuple(_edit(index, each) for index, each in enumerate(about["edits"])),
        unread_accepted=about["unread_accepted"],
        draft=row["draft"],
    )


def _edit(index: int, stored: Any) -> Edit:
    if isinstance(stored, str):
        # The first version stored the sentences alone, and numbered the files from 1 on.
        return Edit(number=index + 1, said=stored)
    number, said = stored
    return Edit(number=number, said=said)


def _columns(stored: Sequence[Mapping[str, str]]) -> tuple[StagedColumn, ...]:
    return tuple(
        StagedColumn(name=each["name"], role=ColumnRole(each["role"]), prefix=each["prefix"]) for each in stored
    )
