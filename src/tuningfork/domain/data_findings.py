"""What can be wrong with the rows of a staged dataset, and what can be done about it, in words for their owner."""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tuningfork.domain.preview import DatasetPreview
from tuningfork.domain.staged_dataset import StagedDataset
from tuningfork.domain.tuned_model import TunedModelId

MOST_ROWS_OF_A_FINDING = 100
"""Of how many of its rows a finding tells the numbers."""


class Severity(StrEnum):
    """How much a finding matters."""

    ERROR = "ERROR"
    """No job can be created."""
    WARNING = "WARNING"
    INFO = "INFO"


class DataFindingKind(StrEnum):
    """What was found."""

    UNREADABLE_ROWS = "unreadable_rows"
    NO_COLUMNS = "no_columns"
    NO_ROWS = "no_rows"
    EMPTY_INPUT = "empty_input"
    EMPTY_OUTPUT = "empty_output"
    NOT_TEXT = "not_text"
    BAD_CHARACTERS = "bad_characters"
    INPUT_TOO_LONG = "input_too_long"
    OUTPUT_TOO_LONG = "output_too_long"
    TOO_MANY_TOKENS = "too_many_tokens"
    NOT_TAKEN = "not_taken"
    DUPLICATES = "duplicates"
    CONFLICTING_OUTPUTS = "conflicting_outputs"
    NEAR_EQUAL_LABELS = "near_equal_labels"
    LABEL_IMBALANCE = "label_imbalance"
    VALIDATION_LEAKAGE = "validation_leakage"
    ENCODING_DAMAGE = "encoding_damage"
    STRAY_SPACES = "stray_spaces"
    FORMULAS = "formulas"
    FEW_ROWS = "few_rows"
    OUTPUT_EQUALS_INPUT = "output_equals_input"

    @property
    def severity(self) -> Severity:
        """How much it matters."""
        if self in _ERRORS:
            return Severity.ERROR
        return Severity.INFO if self is DataFindingKind.LABEL_IMBALANCE else Severity.WARNING


class Fix(StrEnum):
    """What can be done about a finding at once. Every fix is undone as one edit."""

    REMOVE_ROWS = "remove_rows"
    KEEP_FIRST = "keep_first"
    CUT_TEXT = "cut_text"
    TRIM_SPACES = "trim_spaces"
    MERGE_LABELS = "merge_labels"
    REPAIR_ENCODING = "repair_encoding"
    ACKNOWLEDGE = "acknowledge_unreadable"


_KINDS = DataFindingKind
_ERRORS = frozenset(
    {
        *(_KINDS.UNREADABLE_ROWS, _KINDS.NO_COLUMNS, _KINDS.NO_ROWS, _KINDS.EMPTY_INPUT, _KINDS.EMPTY_OUTPUT),
        *(_KINDS.NOT_TEXT, _KINDS.BAD_CHARACTERS, _KINDS.INPUT_TOO_LONG, _KINDS.OUTPUT_TOO_LONG),
        *(_KINDS.TOO_MANY_TOKENS, _KINDS.NOT_TAKEN),
    }
)

TITLES = {
    _KINDS.UNREADABLE_ROWS: "Lines that could not be read",
    _KINDS.NO_COLUMNS: "No input or no output column",
    _KINDS.NO_ROWS: "No rows",
    _KINDS.EMPTY_INPUT: "Empty input",
    _KINDS.EMPTY_OUTPUT: "Empty output",
    _KINDS.NOT_TEXT: "Values that are no text",
    _KINDS.BAD_CHARACTERS: "Characters that no text has",
    _KINDS.INPUT_TOO_LONG: "Input too long",
    _KINDS.OUTPUT_TOO_LONG: "Output too long",
    _KINDS.TOO_MANY_TOKENS: "Longer than the model's context",
    _KINDS.NOT_TAKEN: "Not taken by this base model",
    _KINDS.DUPLICATES: "Duplicates",
    _KINDS.CONFLICTING_OUTPUTS: "Same input, different outputs",
    _KINDS.NEAR_EQUAL_LABELS: "Labels written in several ways",
    _KINDS.LABEL_IMBALANCE: "Uneven labels",
    _KINDS.VALIDATION_LEAKAGE: "Inputs on both sides of the validation split",
    _KINDS.ENCODING_DAMAGE: "Damaged characters",
    _KINDS.STRAY_SPACES: "White space around texts",
    _KINDS.FORMULAS: "Formulas in place of values",
    _KINDS.FEW_ROWS: "Few examples",
    _KINDS.OUTPUT_EQUALS_INPUT: "Output equals input",
}

DESCRIPTIONS = {
    _KINDS.UNREADABLE_ROWS: "{count} of the file became no row; nobody has said yet that they may be left out.",
    _KINDS.NO_COLUMNS: "Choose at least one input column and at least one output column.",
    _KINDS.NO_ROWS: "Add at least one row; some dozens are better.",
    _KINDS.EMPTY_INPUT: "{count} without an input: there is nothing to answer.",
    _KINDS.EMPTY_OUTPUT: "{count} without an output: there is nothing to learn.",
    _KINDS.NOT_TEXT: "{count} with a list, an object or another value that is no text.",
    _KINDS.BAD_CHARACTERS: "{count} with half a character or with U+0000, which the server cannot keep.",
    _KINDS.INPUT_TOO_LONG: "{count} whose input has more than {limit} characters, which this base model does not take.",
    _KINDS.OUTPUT_TOO_LONG: (
        "{count} whose output has more than {limit} characters, which this base model does not take."
    ),
    _KINDS.TOO_MANY_TOKENS: "{count} with more than {limit} tokens: the answer would be cut off.",
    _KINDS.NOT_TAKEN: (
        "{count} with several turns or a system instruction; this base model learns from one input and one output at "
        "a time."
    ),
    _KINDS.DUPLICATES: "{count} equal to an earlier one. They weigh more than others without teaching more.",
    _KINDS.CONFLICTING_OUTPUTS: "{count} share their input with another row that has another output.",
    _KINDS.NEAR_EQUAL_LABELS: "{count} with an output that differs from another one by case, spaces or punctuation.",
    _KINDS.LABEL_IMBALANCE: "The most frequent output is in {share} % of the rows.",
    _KINDS.VALIDATION_LEAKAGE: (
        "{count} have the input of an earlier row, or nearly so. The validation set may hold what was learned."
    ),
    _KINDS.ENCODING_DAMAGE: "{count} with characters that look like UTF-8 read in another encoding, or were lost.",
    _KINDS.STRAY_SPACES: "{count} with white space before or after a text; the model would learn it.",
    _KINDS.FORMULAS: "{count} with a formula or an error of a spreadsheet. Save the values instead.",
    _KINDS.FEW_ROWS: "Some dozens of examples teach more reliably than {rows}.",
    _KINDS.OUTPUT_EQUALS_INPUT: "{count} whose output repeats the input.",
}

FIX_TITLES = {
    Fix.REMOVE_ROWS: "Remove {count}",
    Fix.KEEP_FIRST: "Keep the first of each, remove {count}",
    Fix.CUT_TEXT: "Cut to the limit",
    Fix.TRIM_SPACES: "Trim",
    Fix.MERGE_LABELS: "Write each as most rows do",
    Fix.REPAIR_ENCODING: "Repair",
    Fix.ACKNOWLEDGE: "Leave them out",
}


@dataclass(frozen=True, slots=True)
class OfferedFix:
    """A fix, and how many rows it changes or removes."""

    fix: Fix
    rows: int

    @property
    def title(self) -> str:
        """What it does, in a few words."""
        return FIX_TITLES[self.fix].format(count=in_rows(self.rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFinding:
    """One thing that is wrong with a dataset. `rows` are the ids of all rows that it is about, in their order.

    `values` are texts that the rows share, each with the number of its rows; `facts` the further numbers of its
    description. `column` is the name of the column; "": it is about no one column.
    """

    kind: DataFindingKind
    count: int
    rows: Sequence[int] = field(default_factory=lambda: array("I"))
    fixes: tuple[OfferedFix, ...] = ()
    values: tuple[tuple[str, int], ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    column: str = ""

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return TITLES[self.kind]

    @property
    def description(self) -> str:
        """A sentence with its numbers."""
        noun = in_lines if self.kind is DataFindingKind.UNREADABLE_ROWS else in_rows
        return DESCRIPTIONS[self.kind].format(count=noun(self.count), **dict(self.facts))


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthBucket:
    """How many examples have at least `least` and less than `below` characters."""

    least: int
    below: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReport:
    """All findings, errors first, and the sizes of the examples in characters.

    `labels` says for an output that is written in several ways how most rows write it. `kept_of_conflicts` are the ids
    of the first row of each input that has several outputs.
    """

    findings: tuple[DataFinding, ...]
    row_count: int
    example_count: int
    characters: int
    longest_input: int
    longest_output: int
    lengths: tuple[LengthBucket, ...]
    labels: dict[str, str] = field(default_factory=dict)
    kept_of_conflicts: frozenset[int] = frozenset()

    @property
    def errors(self) -> tuple[DataFinding, ...]:
        """Those that keep a job from being created."""
        return tuple(each for each in self.findings if each.kind.severity is Severity.ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckPurpose:
    """What data is checked for: a base model, by name, or a tuned model; "" and None: a model without limits.

    `held_out`: a share of the rows is to be held out as a validation set.
    """

    base_model: str = ""
    tuned_model: TunedModelId | None = None
    held_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedDataset:
    """A dataset and what was found in it. `numbers` are the numbers, from 1, of the first rows of each finding.

    `tokens` are the sizes of all examples in tokens; None: they were not counted.
    """

    dataset: StagedDataset
    report: DataReport
    numbers: Mapping[DataFindingKind, tuple[int, ...]]
    tokens: DatasetPreview | None = None


def in_rows(count: int) -> str:
    """So many rows."""
    return f"{count:,} row{'' if count == 1 else 's'}"


def in_lines(count: int) -> str:
    """So many lines."""
    return f"{count:,} line{'' if count == 1 else 's'}"
