"""Rows of staged datasets as the trainer will see them: their tokens, and which of them are learned."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tuningfork.domain.base_model import BaseModel, Catalog
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.data_findings import CheckedDataset, CheckPurpose, DataFinding, DataFindingKind
from tuningfork.domain.dataset import Examples, characters_of
from tuningfork.domain.errors import FieldViolation, InvalidArgument, Reason, TuningforkError
from tuningfork.domain.permission import Principal
from tuningfork.domain.preview import MAX_SHOWN_EXAMPLES, DatasetPreview, PreviewedExample, joined
from tuningfork.domain.staged_dataset import StagedDatasetId, StagedRow
from tuningfork.domain.staged_examples import Layout, example_of
from tuningfork.execution.base import Generators, WorkerDied
from tuningfork.service.base_models import base_of, find_base
from tuningfork.service.datasets.checking import Checking
from tuningfork.service.datasets.editing import Editing
from tuningfork.service.datasets.shelf import Shelf
from tuningfork.service.datasets.turns import LongWork
from tuningfork.service.tuning.previewing import parts_of

MOST_COUNTED = 2_000
MOST_COUNTED_CHARACTERS = 2_000_000
"""Datasets with more examples or characters are checked without counting their tokens, which takes a second or two for
so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedRow:
    """A row as the trainer will see it, and its index."""

    index: int
    row: StagedRow
    example: PreviewedExample


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which rows are wanted: those with these ids, or, where there are none, `count` from an index on."""

    ids: tuple[int, ...] = ()
    start: int = 0
    count: int = 3


class Trying:
    """The use cases that render rows. Belongs to one event loop, as the generators' async methods do."""

    def __init__(
        self,
        shelf: Shelf,
        editing: Editing,
        checking: Checking,
        generators: Generators,
        catalog: Catalog,
        long: LongWork,
    ) -> None:
        self._shelf = shelf
        self._editing = editing
        self._checking = checking
        self._generators = generators
        self._catalog = catalog
        self._long = long

    async def preview(
        self, principal: Principal, dataset_id: StagedDatasetId, purpose: CheckPurpose, wanted: Wanted
    ) -> tuple[tuple[TriedRow, ...], int]:
        """Some rows as the trainer will see them, and the base's context length in tokens.

        Raises:
            StagedDatasetNotFound: see `Shelf.find`.
            InvalidArgument: a row is no example yet, or the model's template refuses one, or none is wanted.
            NotFound: there is no such base model or tuned model.
            FailedPrecondition: the rows are not on this server.
            WorkerDied: the generator died twice.

        """
        base, rows, examples = await asyncio.to_thread(self._examples, principal, dataset_id, purpose, wanted)
        found = await self._counted(principal, base, examples, len(examples))
        tried = (
            TriedRow(index=index, row=row, example=example)
            for (index, row), example in zip(rows, found.shown, strict=True)
        )
        return tuple(tried), found.context_tokens

    async def check(self, principal: Principal, dataset_id: StagedDatasetId, purpose: CheckPurpose) -> CheckedDataset:
        """Look at every row; of datasets that are not too large, count the tokens too.

        Raises:
            TuningforkError: as `Checking.check`.

        """
        looked_through = partial(self._looked_through, principal, dataset_id, purpose)
        checked, rows = await self._long.over(principal, dataset_id, looked_through)
        if not rows:
            return checked
        base = await asyncio.to_thread(self._base, principal, purpose)
        try:
            return await self._with_tokens(principal, base, checked, rows)
        except TuningforkError:
            # A base that cannot be loaded now, or a template that refuses an example: the other findings stand.
            return checked

    def _looked_through(
        self, principal: Principal, dataset_id: StagedDatasetId, purpose: CheckPurpose
    ) -> tuple[CheckedDataset, Sequence[tuple[int, int, Conversation]]]:
        """The check without tokens, and the examples whose tokens are to be counted; (): none."""
        checked = self._checking.check(principal, dataset_id, purpose)
        report = checked.report
        is_counted = report.example_count <= MOST_COUNTED and report.characters <= MOST_COUNTED_CHARACTERS
        names_base = purpose.base_model or purpose.tuned_model
        return checked, self._all(checked) if names_base and is_counted else ()

    async def _with_tokens(
        self,
        principal: Principal,
        base: BaseModel,
        checked: CheckedDataset,
        rows: Sequence[tuple[int, int, Conversation]],
    ) -> CheckedDataset:
        examples = tuple(example for _, _, example in rows)
        parts = [(first, await self._counted(principal, base, part, 0)) for first, part in parts_of(examples)]
        sizes = joined(parts)
        if sizes.longest_tokens <= sizes.context_tokens:
            return replace(checked, tokens=sizes)
        too_long = []
        for index, row_id, example in rows:
            # A token has at least one character, besides those of the template.
            if characters_of(example) + _TEMPLATE_TOKENS < sizes.context_tokens:
                continue
            if (await self._counted(principal, base, (example,), 0)).longest_tokens > sizes.context_tokens:
                too_long.append((index, row_id))
        kind = DataFindingKind.TOO_MANY_TOKENS
        finding = DataFinding(
            kind=kind,
            count=len(too_long),
            rows=[row_id for _, row_id in too_long],
            facts=(("limit", f"{sizes.context_tokens:,}"),),
        )
        report = replace(checked.report, findings=(finding, *checked.report.findings))
        numbers = {**checked.numbers, kind: tuple(index + 1 for index, _ in too_long)}
        return replace(checked, report=report, numbers=numbers, tokens=sizes)

    async def _counted(self, principal: Principal, base: BaseModel, examples: Examples, shown: int) -> DatasetPreview:
        try:
            return await self._generators.preview(base, examples, shown, owner=principal.email)
        except WorkerDied:
            return await self._generators.preview(base, examples, shown, owner=principal.email)

    def _examples(
        self, principal: Principal, dataset_id: StagedDatasetId, purpose: CheckPurpose, wanted: Wanted
    ) -> tuple[BaseModel, tuple[tuple[int, StagedRow], ...], Examples]:
        base = self._base(principal, purpose)
        if wanted.ids:
            window = self._editing.chosen(principal, dataset_id, wanted.ids[:MAX_SHOWN_EXAMPLES])
        else:
            count = min(wanted.count, MAX_SHOWN_EXAMPLES)
            window = self._editing.window(principal, dataset_id, wanted.start, count)
        if not window.rows:
            raise InvalidArgument("ids, or start and count, must name at least one row of the dataset.")
        layout = Layout.of(window.dataset.columns)
        if window.dataset.columns and not layout.is_complete:
            raise InvalidArgument("Choose at least one input column and at least one output column first.")
        made = [(index, row, example_of(row, layout)) for index, row in window.rows]
        found = tuple(
            FieldViolation(field="ids", description=_unmade(index, problems), reason=Reason.NOT_ALLOWED)
            for index, _, problems in made
            if not isinstance(problems, Conversation)
        )
        if found:
            raise InvalidArgument(violations=found)
        return base, window.rows, tuple(each for _, _, each in made if isinstance(each, Conversation))

    def _base(self, principal: Principal, purpose: CheckPurpose) -> BaseModel:
        if purpose.tuned_model is not None:
            return base_of(self._catalog, self._checking.tuned(principal, purpose.tuned_model).model).base
        return find_base(self._catalog, purpose.base_model).base

    def _all(self, checked: CheckedDataset) -> list[tuple[int, int, Conversation]]:
        """Each row that is an example, with its index and its id."""

        def made() -> Iterator[tuple[int, int, Conversation]]:
            layout, places = Layout.of(checked.dataset.columns), self._shelf.places(checked.dataset)
            for index, row in enumerate(places.read(range(len(places)))):
                example = example_of(row, layout)
                if isinstance(example, Conversation):
                    yield index, row.id, example

        return list(made())


_TEMPLATE_TOKENS = 256


def _unmade(index: int, problems: Sequence[str]) -> str:
    return f"row {index + 1} is no example yet: {', '.join(problem.replace('_', ' ') for problem in problems)}"
