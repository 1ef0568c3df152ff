"""Checks of staged datasets, and fixes of what they find."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator

from tuningfork.domain.base_model import Catalog, Limits
from tuningfork.domain.data_check import DataCheck
from tuningfork.domain.data_findings import (
    MOST_ROWS_OF_A_FINDING,
    CheckedDataset,
    CheckPurpose,
    DataFinding,
    DataFindingKind,
    DataReport,
    Fix,
)
from tuningfork.domain.data_fixes import fixed
from tuningfork.domain.errors import FieldViolation, InvalidArgument, Reason
from tuningfork.domain.permission import Principal
from tuningfork.domain.staged_dataset import StagedColumn, StagedDataset, StagedDatasetId, StagedRow
from tuningfork.domain.staged_examples import Layout
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.service.base_models import base_of, find_base
from tuningfork.service.datasets.editing import Change, Editing, counted
from tuningfork.service.datasets.keeping import Keeping
from tuningfork.service.datasets.shelf import Shelf
from tuningfork.service.tuning.tuned import Tuned
from tuningfork.store.staged_rows import RowPlaces

_REMEMBERED = 4
_Key = tuple[StagedDatasetId, int, tuple[StagedColumn, ...], Limits, bool, bool]


class Checking:
    """The use cases of checks and fixes. Thread-safe.

    `tuned` finds a tuned model that the caller may read: `Tuning.get`.
    """

    def __init__(self, shelf: Shelf, editing: Editing, catalog: Catalog, tuned: Callable[..., Tuned]) -> None:
        self._shelf = shelf
        self._editing = editing
        self._catalog = catalog
        self._tuned = tuned
        self._lock = threading.Lock()
        self._reports: OrderedDict[_Key, DataReport] = OrderedDict()

    def check(self, principal: Principal, dataset_id: StagedDatasetId, purpose: CheckPurpose) -> CheckedDataset:
        """Look at every row. A report is remembered until the data changes.

        Raises:
            StagedDatasetNotFound: see `Shelf.find`.
            NotFound: there is no such base model or tuned model.
            FailedPrecondition: the rows are not on this server.

        """
        dataset = self._shelf.find(principal, dataset_id)
        places = self._shelf.places(dataset)
        report = self._report(dataset, places, self.limits(principal, purpose), purpose)
        numbers = {
            each.kind: tuple(1 + (places.index(row_id) or 0) for row_id in each.rows[:MOST_ROWS_OF_A_FINDING])
            for each in report.findings
        }
        return CheckedDataset(dataset=dataset, report=report, numbers=numbers)

    def limits(self, principal: Principal, purpose: CheckPurpose) -> Limits:
        """The limits of the base model.

        Raises:
            NotFound: there is no such base model or tuned model.

        """
        if purpose.tuned_model is not None:
            return base_of(self._catalog, self.tuned(principal, purpose.tuned_model).model).limits
        return find_base(self._catalog, purpose.base_model).limits if purpose.base_model else Limits()

    def tuned(self, principal: Principal, model_id: TunedModelId) -> Tuned:
        """A tuned model that the caller may read.

        Raises:
            NotFound: there is none.
            PermissionDenied: the caller may not read it.

        """
        return self._tuned(principal, model_id, snapshots=False)

    def fix(
        self, principal: Principal, dataset_id: StagedDatasetId, kind: str, fix: str, purpose: CheckPurpose
    ) -> tuple[StagedDataset, int]:
        """Apply a fix to all rows of a finding; returns the dataset and how many rows were changed or removed.

        Raises:
            StagedDatasetNotFound: see `Shelf.find`.
            InvalidArgument: the data has no such finding, or the finding no such fix.
            NotFound: there is no such base model or tuned model.
            FailedPrecondition: the rows are not on this server.

        """
        limits = self.limits(principal, purpose)
        if kind == DataFindingKind.UNREADABLE_ROWS and fix == Fix.ACKNOWLEDGE:
            return Keeping(self._shelf).accept_unread(principal, dataset_id), 0
        count = 0

        def made(dataset: StagedDataset, places: RowPlaces) -> Change:
            nonlocal count
            report = self._report(dataset, places, limits, purpose)
            finding = _finding(report, kind, fix)
            change, count = _change(dataset, places, report, finding, Fix(fix), limits)
            return change

        return self._editing.change(principal, dataset_id, made), count

    def _report(self, dataset: StagedDataset, places: RowPlaces, limits: Limits, purpose: CheckPurpose) -> DataReport:
        key = dataset.id, dataset.revision, dataset.columns, limits, purpose.held_out, dataset.unread_accepted
        with self._lock:
            if key in self._reports:
                self._reports.move_to_end(key)
                return self._reports[key]
        check = DataCheck(dataset, limits, held_out=purpose.held_out)
        for row in places.read(range(len(places))):
            check.add(row)
        report = check.report()
        with self._lock:
            self._reports[key] = report
            while len(self._reports) > _REMEMBERED:
                self._reports.popitem(last=False)
        return report


def _finding(report: DataReport, kind: str, fix: str) -> DataFinding:
    found = next((each for each in report.findings if each.kind == kind), None)
    if found is None:
        kinds = ", ".join(each.kind for each in report.findings) or "none"
        described = f"finding must be one that the data has ({kinds}); {kind[:80]!r} was given"
        raise InvalidArgument(
            violations=(FieldViolation(field="finding", description=described, reason=Reason.NOT_ALLOWED),)
        )
    if fix not in {offered.fix for offered in found.fixes}:
        fixes = ", ".join(offered.fix for offered in found.fixes) or "none, edit the rows"
        described = f"fix must be one of this finding ({fixes}); {fix[:80]!r} was given"
        raise InvalidArgument(
            violations=(FieldViolation(field="fix", description=described, reason=Reason.NOT_ALLOWED),)
        )
    return found


def _change(
    dataset: StagedDataset, places: RowPlaces, report: DataReport, finding: DataFinding, fix: Fix, limits: Limits
) -> tuple[Change, int]:
    """The change that a fix is, and how many rows it concerns."""
    title = finding.title.lower()
    if fix in {Fix.REMOVE_ROWS, Fix.KEEP_FIRST}:
        kept = report.kept_of_conflicts if fix is Fix.KEEP_FIRST else frozenset()
        removed = tuple(row_id for row_id in finding.rows if row_id not in kept)
        return Change(said=f"Removed {counted(len(removed))} ({title})", removed=removed), len(removed)
    layout = Layout.of(dataset.columns)

    def changed() -> Iterator[StagedRow]:
        indexes = (places.index(row_id) for row_id in finding.rows)
        for row in places.read(index for index in indexes if index is not None):
            after = fixed(row, fix, layout, limits, report.labels)
            if after != row:
                yield after

    count = sum(1 for _ in changed())
    return Change(said=f"Changed {counted(count)} ({title})", changed=changed()), count
