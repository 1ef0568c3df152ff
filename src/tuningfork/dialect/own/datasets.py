"""Staged datasets: uploading training data, looking at its rows, and correcting them."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from tuningfork.dialect.call import Awaited, Binding, BodyStream, Direct, Fed, MethodCall, translated_errors
from tuningfork.dialect.own.methods import OwnMethod
from tuningfork.domain.staged_dataset import StagedDatasetId
from tuningfork.service.datasets.arriving import MAX_UPLOAD_BYTES
from tuningfork.service.datasets.datasets import Datasets
from tuningfork.service.datasets.turns import Turns
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query, render_empty
from tuningfork.wire.own import dataset_checks, dataset_rows, datasets

Result = TypeVar("Result")

_ONE = "/datasets/{dataset:id}"


def dataset_of(call: MethodCall) -> StagedDatasetId:
    """The id of the dataset in the path."""
    return StagedDatasetId(call.path["dataset"])


@dataclass(frozen=True, slots=True)
class DatasetMethods:
    """Methods about datasets as a whole. Uploads are written in `threads`, and read in their owner's turn."""

    datasets: Datasets
    threads: Executor
    turns: Turns

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """Five methods. The body of an upload is written to the disk while it arrives."""
        reads, changes = OwnMethod.READ_DATASETS, OwnMethod.CHANGE_DATASETS
        fed = Fed(self.create, MAX_UPLOAD_BYTES)
        return (
            Binding("POST", "/datasets", OwnMethod.CREATE_DATASET, fed, counted_as="create_dataset"),
            Binding("GET", "/datasets", reads, Direct(self.list), counted_as="list_datasets"),
            Binding("GET", _ONE, reads, Direct(self.get), counted_as="get_dataset"),
            Binding("PATCH", _ONE, changes, Direct(self.update), counted_as="update_dataset"),
            Binding("DELETE", _ONE, changes, Direct(self.delete), counted_as="delete_dataset"),
        )

    async def create(self, call: MethodCall, body: BodyStream) -> Typed:
        """datasets.create: a dataset of a file, which is the body."""
        asked = datasets.parse_upload(call.query)
        with translated_errors(datasets.CREATE):
            begin = partial(self.datasets.arrivals.begin, call.principal, asked.name, asked.display_name, asked.header)
            upload = await self._in_thread(begin)
            try:
                async for piece in body:
                    await self._in_thread(partial(upload.add, piece))
                read = partial(self.datasets.arrivals.finish, upload)
                return datasets.render_dataset(await self.turns.run(call.principal.email, read))
            finally:
                await self._in_thread(upload.close)

    def list(self, call: MethodCall) -> Typed:
        """datasets.list: the datasets of the caller, the newest first, in pages."""
        page_size, page_token = datasets.parse_list(call.query)
        with translated_errors(datasets.LIST):
            page = self.datasets.keeping.list(call.principal, page_size=page_size, page_token=page_token)
        return datasets.render_datasets(page.items, page.next_page_token)

    def get(self, call: MethodCall) -> Typed:
        """datasets.get: a dataset without its rows."""
        refuse_query(call.query)
        return datasets.render_dataset(self.datasets.keeping.get(call.principal, dataset_of(call)))

    def update(self, call: MethodCall) -> Typed:
        """datasets.patch: another name, other roles of columns, another draft; fields that are not sent stay."""
        refuse_query(call.query)
        change = datasets.parse_change(call.body)
        with translated_errors(datasets.UPDATE):
            return datasets.render_dataset(self.datasets.keeping.change(call.principal, dataset_of(call), change))

    def delete(self, call: MethodCall) -> Typed:
        """datasets.delete: removes a dataset with its rows."""
        refuse_query(call.query)
        self.datasets.keeping.delete(call.principal, dataset_of(call))
        return render_empty()

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        """Work in a thread, to its end: if the call is cancelled, the thread ends before its files are removed."""
        here = contextvars.copy_context()
        done: asyncio.Future[Any] = asyncio.get_running_loop().run_in_executor(self.threads, partial(here.run, work))
        try:
            result: Result = await asyncio.shield(done)
            return result
        finally:
            await asyncio.wait({done})


@dataclass(frozen=True, slots=True)
class RowMethods:
    """Methods about the rows of datasets, and fixes of what checks find."""

    datasets: Datasets

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """Looking at rows, and changing them; checks are in `dataset_trials`."""
        reads, changes, row = OwnMethod.READ_DATASETS, OwnMethod.CHANGE_DATASETS, f"{_ONE}/rows/{{row:id}}"
        return (
            Binding("GET", f"{_ONE}/rows", reads, Direct(self.rows), counted_as="dataset_rows"),
            Binding("GET", row, reads, Direct(self.row), counted_as="dataset_row"),
            Binding("PATCH", row, changes, Direct(self.set), counted_as="update_dataset_row"),
            Binding("POST", f"{_ONE}:addRows", changes, Direct(self.add), counted_as="add_dataset_rows"),
            Binding("POST", f"{_ONE}:removeRows", changes, Direct(self.remove), counted_as="remove_dataset_rows"),
            Binding("POST", f"{_ONE}:undo", changes, Direct(self.undo), counted_as="undo_dataset_edit"),
            Binding("POST", f"{_ONE}:fix", changes, Awaited(self.fix), counted_as="fix_dataset"),
        )

    def rows(self, call: MethodCall) -> Typed:
        """datasets.rows: some rows, by their place or by their ids; long cells are cut."""
        wanted = dataset_rows.parse_rows(call.query, call.repeated)
        principal, dataset_id = call.principal, dataset_of(call)
        if wanted.ids:
            window = self.datasets.editing.chosen(principal, dataset_id, wanted.ids)
        else:
            window = self.datasets.editing.window(principal, dataset_id, wanted.start, wanted.count)
        return dataset_rows.render_rows(window, wanted.cell_characters)

    def row(self, call: MethodCall) -> Typed:
        """datasets.rows.get: one row, whole."""
        refuse_query(call.query)
        row_id = dataset_rows.parse_row_id(call.path["row"])
        return dataset_rows.render_row(*self.datasets.editing.row(call.principal, dataset_of(call), row_id))

    def set(self, call: MethodCall) -> Typed:
        """datasets.rows.patch: other cells, or another conversation."""
        refuse_query(call.query)
        row_id, change = dataset_rows.parse_row_id(call.path["row"]), dataset_rows.parse_change(call.body)
        with translated_errors(dataset_rows.CHANGE_ROW):
            changed = self.datasets.editing.set(call.principal, dataset_of(call), row_id, change)
        return dataset_rows.render_changed_row(*changed)

    def add(self, call: MethodCall) -> Typed:
        """datasets.addRows: further rows, at the end."""
        refuse_query(call.query)
        rows = dataset_rows.parse_added(call.body)
        with translated_errors(dataset_rows.ADD):
            return dataset_rows.render_added(*self.datasets.editing.add(call.principal, dataset_of(call), rows))

    def remove(self, call: MethodCall) -> Typed:
        """datasets.removeRows: rows by their ids."""
        refuse_query(call.query)
        ids = dataset_rows.parse_removed(call.body)
        return dataset_rows.render_changed(self.datasets.editing.remove(call.principal, dataset_of(call), ids))

    def undo(self, call: MethodCall) -> Typed:
        """datasets.undo: takes back the last change of rows."""
        refuse_query(call.query)
        return dataset_rows.render_changed(self.datasets.editing.undo(call.principal, dataset_of(call)))

    async def fix(self, call: MethodCall) -> Typed:
        """datasets.fix: mends all rows of a finding; undone as one edit."""
        refuse_query(call.query)
        purpose, finding, fix = dataset_checks.parse_fix(call.body)
        with translated_errors(dataset_checks.FIX_WORDS):
            fix_all = partial(self.datasets.checking.fix, call.principal, dataset_of(call), finding, fix, purpose)
            fixed = await self.datasets.long.over(call.principal, dataset_of(call), fix_all)
        return dataset_checks.render_fix(*fixed)
