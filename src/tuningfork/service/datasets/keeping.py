"""Getting, listing, describing and deleting staged datasets."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from tuningfork.domain.errors import FailedPrecondition, FieldViolation, InvalidArgument, Reason
from tuningfork.domain.permission import Principal
from tuningfork.domain.staged_dataset import (
    MAX_DRAFT_BYTES,
    MAX_NAME_CHARACTERS,
    ColumnRole,
    DatasetChange,
    StagedDataset,
    StagedDatasetId,
    violations_of_columns,
)
from tuningfork.domain.text import refusal_of
from tuningfork.service.datasets.shelf import Shelf
from tuningfork.service.paging import Page, made_up, place_of, size_of, token_of
from tuningfork.store import staged_datasets


class Keeping:
    """The use cases of datasets as a whole. Thread-safe."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def get(self, principal: Principal, dataset_id: StagedDatasetId) -> StagedDataset:
        """A dataset of the caller.

        Raises:
            StagedDatasetNotFound: see `Shelf.find`.

        """
        return self._shelf.find(principal, dataset_id)

    def list(self, principal: Principal, *, page_size: int | None = None, page_token: str = "") -> Page[StagedDataset]:
        """The datasets of the caller, the newest first.

        Raises:
            InvalidArgument: the size or the token is wrong.

        """
        size = size_of(page_size)
        after = _place(page_token, principal) if page_token else None
        with self._shelf.database.read() as connection:
            found = staged_datasets.page_of(connection, principal.email, after, size + 1)
        shown = tuple(found[:size])
        more = len(found) > size
        token = token_of((shown[-1].create_time.isoformat(), shown[-1].id), principal.email) if more else ""
        now = self._shelf.clock()
        return Page(tuple(each for each in shown if each.expire_time > now), token)

    def change(self, principal: Principal, dataset_id: StagedDatasetId, change: DatasetChange) -> StagedDataset:
        """Change a dataset's name, draft or columns. Its rows and its revision stay.

        Raises:
            StagedDatasetNotFound: see `Shelf.find`.
            InvalidArgument: everything that is wrong with the change.

        """
        now = self._shelf.clock()
        return self._replaced(principal, dataset_id, lambda dataset: _changed(dataset, change, now))

    def _replaced(
        self, principal: Principal, dataset_id: StagedDatasetId, change: Callable[[StagedDataset], StagedDataset]
    ) -> StagedDataset:
        with self._shelf.editing(dataset_id):
            dataset = self._shelf.find(principal, dataset_id)
            changed = change(dataset)
            with self._shelf.database.write() as connection:
                if not staged_datasets.replace_row(connection, changed, revision=dataset.revision):
                    raise FailedPrecondition("The dataset was changed or deleted meanwhile: read it again.")
            return changed

    def accept_unread(self, principal: Principal, dataset_id: StagedDatasetId) -> StagedDataset:
        """Note that the owner knows of the parts of the file that became no rows, and leaves them out.

        Raises:
            StagedDatasetNotFound: see `Shelf.find`.

        """
        return self._replaced(principal, dataset_id, lambda dataset: replace(dataset, unread_accepted=True))

    def delete(self, principal: Principal, dataset_id: StagedDatasetId) -> None:
        """Delete a dataset with its rows. Models that were tuned on it stay as they are.

        Raises:
            StagedDatasetNotFound: see `Shelf.find`.

        """
        with self._shelf.editing(dataset_id):
            self._shelf.find(principal, dataset_id)
            self._shelf.forget(dataset_id)


def _place(token: str, principal: Principal) -> tuple[datetime, str]:
    time, last = place_of(token, principal.email, (str, str))
    try:
        return datetime.fromisoformat(str(time)), str(last)
    except ValueError as error:
        raise made_up() from error


def _texts_of(draft: str) -> str:
    """A draft with its characters written out, so that it is seen whether each of them can be sent back."""
    return json.dumps(json.loads(draft), ensure_ascii=False) if draft else ""


def _changed(dataset: StagedDataset, change: DatasetChange, now: datetime) -> StagedDataset:
    found: list[FieldViolation] = []
    draft = dataset.draft
    if change.draft is not None:
        draft = json.dumps(change.draft, separators=(",", ":")) if change.draft else ""
        if len(draft) > MAX_DRAFT_BYTES:
            described = f"draft takes {len(draft):,} bytes as JSON in ASCII, and may take {MAX_DRAFT_BYTES:,}"
            found.append(FieldViolation(field="draft", description=described, reason=Reason.TOO_LONG))
    name = dataset.display_name if change.display_name is None else change.display_name.strip()
    if not 0 < len(name) <= MAX_NAME_CHARACTERS:
        described = f"display_name must have 1 to {MAX_NAME_CHARACTERS} characters; it has {len(name)}"
        found.append(FieldViolation(field="display_name", description=described, reason=Reason.OUT_OF_RANGE))
    if "\0" in name:
        described = "display_name must not contain the character U+0000"
        found.append(FieldViolation(field="display_name", description=described, reason=Reason.MALFORMED))
    for field, text in (("display_name", name), ("draft", _texts_of(draft))):
        if refusal := refusal_of(text):
            found.append(FieldViolation(field=field, description=f"{field} {refusal}", reason=Reason.MALFORMED))
    columns, settled = dataset.columns, dataset.columns_settled
    if change.columns is not None:
        found += violations_of_columns(dataset.columns, change.columns)
    if found:
        raise InvalidArgument(violations=tuple(found))
    if change.columns is not None:
        columns = tuple(
            replace(column, role=ColumnRole(asked["role"]), prefix=asked.get("prefix", ""))
            for column, asked in zip(dataset.columns, change.columns, strict=True)
        )
        settled = True
    return replace(
        dataset,
        display_name=name,
        draft=draft,
        columns=columns,
        columns_settled=settled,
        update_time=now,
        use_time=now,
    )
