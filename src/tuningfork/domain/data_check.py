"""Looks through the rows of a staged dataset, one at a time, for what would spoil a tuning.

Memory: some 40 bytes a row for finding equal rows, besides the ids of the rows that are found.
"""

import hashlib
import unicodedata
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from tuningfork.domain.base_model import Limits
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.data_findings import (
    DataFinding,
    DataFindingKind,
    DataReport,
    Fix,
    LengthBucket,
    OfferedFix,
    Severity,
)
from tuningfork.domain.staged_dataset import StagedDataset, StagedRow
from tuningfork.domain.staged_examples import Layout, RowProblem, example_of, sides_of
from tuningfork.domain.text_damage import is_damaged, is_formula, repaired

FEW_ROWS = 20
_MOST_LABELS, _LONGEST_LABEL, _LEAST_LABELLED = 200, 60, 12
"""Outputs count as labels if they are few, short, and in at least so many rows, each on average in three of them."""
_UNEVEN_SHARE = 0.8
_SHOWN_VALUES = 40
_BUCKETS = 12

_K = DataFindingKind
_REMOVABLE = frozenset(
    {
        *(_K.EMPTY_INPUT, _K.EMPTY_OUTPUT, _K.NOT_TEXT, _K.BAD_CHARACTERS, _K.INPUT_TOO_LONG, _K.OUTPUT_TOO_LONG),
        *(_K.NOT_TAKEN, _K.DUPLICATES, _K.OUTPUT_EQUALS_INPUT, _K.FORMULAS, _K.ENCODING_DAMAGE),
    }
)


class DataCheck:
    """Collects findings row by row.

    Args:
        dataset: the dataset, without its rows.
        limits: those of the base model that is to be tuned.
        held_out: whether a share of the rows is to be held out as a validation set.

    """

    def __init__(self, dataset: StagedDataset, limits: Limits, *, held_out: bool) -> None:
        self._dataset = dataset
        self._limits = limits
        self._held_out = held_out
        self._layout = Layout.of(dataset.columns)
        self._is_table = dataset.columns != ()
        self._found: dict[DataFindingKind, array[int]] = defaultdict(lambda: array("I"))
        self._repairable = 0
        self._first_of: dict[bytes, tuple[int, bytes]] = {}
        self._conflicts: dict[bytes, list[int]] = {}
        self._alike: dict[bytes, bytes] = {}
        self._leaking = array("I")
        self._labels: Counter[str] | None = Counter()
        self._label_rows: dict[str, array[int]] = defaultdict(lambda: array("I"))
        self._lengths = array("I")
        self._characters = self._longest_input = self._longest_output = self._rows = 0

    def add(self, row: StagedRow) -> None:
        """Look at the next row."""
        self._rows += 1
        if self._is_table and not self._layout.is_complete:
            return
        made = example_of(row, self._layout)
        if isinstance(made, Conversation):
            self._look_at_example(row.id, made)
        else:
            for problem in made:
                self._found[_OF_PROBLEMS[problem]].append(row.id)
        self._look_at_texts(row)

    def report(self) -> DataReport:
        """Everything that was found."""
        merged = self._merged_labels()
        found = [*self._of_whole(), *self._of_rows(), *self._of_groups(), *self._of_labels(merged)]
        order = list(Severity)
        return DataReport(
            findings=tuple(sorted(found, key=lambda each: order.index(each.kind.severity))),
            row_count=self._rows,
            example_count=len(self._lengths),
            characters=self._characters,
            longest_input=self._longest_input,
            longest_output=self._longest_output,
            lengths=_histogram(self._lengths),
            labels=merged,
            kept_of_conflicts=frozenset(group[0] for group in self._conflicts.values()),
        )

    def _look_at_example(self, row_id: int, example: Conversation) -> None:
        given, learned = sides_of(example)
        size = sum(len(turn.text) for turn in example.turns) + len(example.system_instruction or "")
        self._lengths.append(size)
        self._characters += size
        self._longest_input = max(self._longest_input, len(given))
        self._longest_output = max(self._longest_output, len(learned))
        limits = self._limits
        if not limits.conversations and example.as_pair() is None:
            self._found[_K.NOT_TAKEN].append(row_id)
        if limits.max_input_characters is not None and len(given.strip("\x1f")) > limits.max_input_characters:
            self._found[_K.INPUT_TOO_LONG].append(row_id)
        if limits.max_output_characters is not None and any(
            len(turn.text) > limits.max_output_characters for turn in example.turns if turn.is_learned
        ):
            self._found[_K.OUTPUT_TOO_LONG].append(row_id)
        if given.strip("\x1f").strip() == learned.strip():
            self._found[_K.OUTPUT_EQUALS_INPUT].append(row_id)
        self._compare(row_id, given, learned)
        self._count_label(row_id, learned)

    def _compare(self, row_id: int, given: str, learned: str) -> None:
        """Look for earlier rows with the same input."""
        of_input, of_output = _digest(given), _digest(learned)
        if self._held_out:
            # Equal examples are never on both sides of a split (`held_out.split`); similar ones may be.
            whole = of_input + of_output
            if self._alike.setdefault(_digest(_plain(given)), whole) != whole:
                self._leaking.append(row_id)
        first = self._first_of.get(of_input)
        if first is None:
            self._first_of[of_input] = row_id, of_output
            return
        if first[1] == of_output:
            self._found[_K.DUPLICATES].append(row_id)
        else:
            self._conflicts.setdefault(of_input, [first[0]]).append(row_id)

    def _count_label(self, row_id: int, learned: str) -> None:
        if self._labels is None:
            return
        if len(learned) > _LONGEST_LABEL or (learned not in self._labels and len(self._labels) >= _MOST_LABELS):
            self._labels = None
            self._label_rows.clear()
            return
        self._labels[learned] += 1
        self._label_rows[learned].append(row_id)

    def _look_at_texts(self, row: StagedRow) -> None:
        texts = [*texts_of(row, self._layout)]
        if any(text != text.strip() and text.strip() for text in texts):
            self._found[_K.STRAY_SPACES].append(row.id)
        if any(map(is_damaged, texts)):
            self._found[_K.ENCODING_DAMAGE].append(row.id)
            self._repairable += any(repaired(text) != text for text in texts)
        if self._is_table and any(map(is_formula, texts)):
            self._found[_K.FORMULAS].append(row.id)

    def _of_whole(self) -> Iterator[DataFinding]:
        """What is wrong with the dataset as a whole."""
        unread = self._dataset.read.unread_count
        if unread and not self._dataset.unread_accepted:
            fixes = (OfferedFix(Fix.ACKNOWLEDGE, 0),)
            yield DataFinding(kind=_K.UNREADABLE_ROWS, count=unread, fixes=fixes)
        if self._is_table and not self._layout.is_complete:
            yield DataFinding(kind=_K.NO_COLUMNS, count=self._rows)
        if not self._rows:
            yield DataFinding(kind=_K.NO_ROWS, count=0)
        elif self._rows < FEW_ROWS:
            facts = (("rows", str(self._rows)),)
            yield DataFinding(kind=_K.FEW_ROWS, count=self._rows, facts=facts)

    def _of_rows(self) -> Iterator[DataFinding]:
        limits = {_K.INPUT_TOO_LONG: self._limits.max_input_characters}
        limits[_K.OUTPUT_TOO_LONG] = self._limits.max_output_characters
        for kind, rows in self._found.items():
            facts = (("limit", f"{limits[kind]:,}"),) if kind in limits else ()
            yield DataFinding(kind=kind, count=len(rows), rows=rows, fixes=self._fixes_of(kind, len(rows)), facts=facts)

    def _fixes_of(self, kind: DataFindingKind, rows: int) -> tuple[OfferedFix, ...]:
        offered = []
        if kind is _K.STRAY_SPACES:
            offered.append(OfferedFix(Fix.TRIM_SPACES, rows))
        if kind is _K.ENCODING_DAMAGE and self._repairable:
            offered.append(OfferedFix(Fix.REPAIR_ENCODING, self._repairable))
        sides = {_K.INPUT_TOO_LONG: self._layout.inputs, _K.OUTPUT_TOO_LONG: self._layout.outputs}
        if len(sides.get(kind, ())) == 1:
            offered.append(OfferedFix(Fix.CUT_TEXT, rows))
        if kind in _REMOVABLE:
            offered.append(OfferedFix(Fix.REMOVE_ROWS, rows))
        return tuple(offered)

    def _of_groups(self) -> Iterator[DataFinding]:
        """Rows that share their input with others."""
        if self._conflicts:
            rows = array("I", sorted(row for group in self._conflicts.values() for row in group))
            removed = sum(len(group) - 1 for group in self._conflicts.values())
            fixes = (OfferedFix(Fix.KEEP_FIRST, removed),)
            yield DataFinding(kind=_K.CONFLICTING_OUTPUTS, count=len(rows), rows=rows, fixes=fixes)
        if self._leaking:
            yield DataFinding(kind=_K.VALIDATION_LEAKAGE, count=len(self._leaking), rows=self._leaking)

    def _has_labels(self) -> bool:
        labels, rows = self._labels, len(self._lengths)
        return labels is not None and rows >= _LEAST_LABELLED and len(labels) > 1 and 3 * len(labels) <= rows

    def _merged_labels(self) -> dict[str, str]:
        """For each output that is written in several ways, how most rows write it."""
        labels = self._labels
        if not self._has_labels() or labels is None:
            return {}
        groups: dict[str, list[str]] = defaultdict(list)
        for label in labels:
            groups[_plain(label)].append(label)
        merged: dict[str, str] = {}
        for group in groups.values():
            best = max(group, key=labels.__getitem__)
            merged |= {label: best for label in group if label != best}
        return merged

    def _of_labels(self, merged: Mapping[str, str]) -> Iterator[DataFinding]:
        if not self._has_labels() or self._labels is None:
            return
        if merged:
            rows = array("I", sorted(row for label in merged for row in self._label_rows[label]))
            written = {*merged, *merged.values()}
            values = [each for each in self._labels.most_common() if each[0] in written][:_SHOWN_VALUES]
            fixes = (OfferedFix(Fix.MERGE_LABELS, len(rows)),) if len(self._layout.outputs) < 2 else ()
            yield DataFinding(kind=_K.NEAR_EQUAL_LABELS, count=len(rows), rows=rows, fixes=fixes, values=tuple(values))
        (_, most), *_ = self._labels.most_common(1)
        share = most / self._labels.total()
        if share >= _UNEVEN_SHARE:
            facts = (("share", f"{100 * share:.0f}"),)
            shown = tuple(self._labels.most_common(_SHOWN_VALUES))
            yield DataFinding(kind=_K.LABEL_IMBALANCE, count=most, values=shown, facts=facts)


_OF_PROBLEMS = {
    RowProblem.NOT_TEXT: _K.NOT_TEXT,
    RowProblem.BAD_CHARACTERS: _K.BAD_CHARACTERS,
    RowProblem.EMPTY_INPUT: _K.EMPTY_INPUT,
    RowProblem.EMPTY_OUTPUT: _K.EMPTY_OUTPUT,
}


def texts_of(row: StagedRow, layout: Layout) -> Iterator[str]:
    """The texts of a row that become a part of its example."""
    if row.conversation is not None:
        if row.conversation.system_instruction is not None:
            yield row.conversation.system_instruction
        yield from (turn.text for turn in row.conversation.turns)
        return
    cells = row.cells or ()
    system = () if layout.system is None else (layout.system,)
    for index in (*system, *layout.inputs, *layout.outputs):
        if index < len(cells) and isinstance(cell := cells[index], str):
            yield cell


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _plain(label: str) -> str:
    """A label without what people write in several ways: case, spaces, and punctuation at its end."""
    return " ".join(unicodedata.normalize("NFKC", label).casefold().split()).strip(" .,;:!?\"'")


def _histogram(lengths: "array[int]") -> tuple[LengthBucket, ...]:
    """The lengths in buckets of equal width, a round number, from 0 to the longest one."""
    if not lengths:
        return ()
    width = _round_up(max(lengths) // _BUCKETS + 1)
    counts = Counter(length // width for length in lengths)
    return tuple(
        LengthBucket(least=number * width, below=(number + 1) * width, count=counts.get(number, 0))
        for number in range(max(counts) + 1)
    )


def _round_up(number: int) -> int:
    """The next number that is 1, 2 or 5 times a power of ten."""
    power = 1
    while True:
        for digit in (1, 2, 5):
            if digit * power >= number:
                return digit * power
        power *= 10
