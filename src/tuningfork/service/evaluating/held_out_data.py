"""Takes the examples of an evaluation run from a staged dataset, or from what a tuning job kept back."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuningfork.domain.conversation import Conversation, Example, Preference
from tuningfork.domain.dataset_lines import example_in
from tuningfork.domain.errors import FailedPrecondition, FieldViolation, InvalidArgument, Reason
from tuningfork.domain.evaluation_run import MAX_CHARACTERS, DataSource, EvaluationRow, held_out
from tuningfork.domain.permission import Action, Principal
from tuningfork.domain.staged_dataset import StagedDatasetId
from tuningfork.domain.staged_examples import Layout, example_of
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.service.datasets.shelf import Shelf
from tuningfork.service.tuning.tuned import load
from tuningfork.store.artifacts import Artifacts


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutData:
    """Examples for a run, in the order of their numbers, and where they are from."""

    source: DataSource
    rows: tuple[EvaluationRow, ...]


class HeldOut:
    """Reads held-out examples for callers who may see them."""

    def __init__(self, shelf: Shelf, artifacts: Artifacts) -> None:
        self._shelf = shelf
        self._artifacts = artifacts

    def of_dataset(self, principal: Principal, dataset_id: StagedDatasetId, most: int) -> HeldOutData:
        """Examples of a dataset of the caller: all, or so many from all of it.

        Raises:
            StagedDatasetNotFound: there is none of this id, or it is somebody else's.
            InvalidArgument: its columns are not settled, or no row is an example, or they are too long together.
            FailedPrecondition: the rows are not on this server.

        """
        dataset = self._shelf.find(principal, dataset_id)
        layout = Layout.of(dataset.columns)
        if dataset.columns and not layout.is_complete:
            described = "the dataset's columns are not settled: choose at least one input and one output column first"
            raise _refused("dataset", described, Reason.MALFORMED)
        places = self._shelf.places(dataset)
        chosen = spread(len(places), most)
        made = (example_of(row, layout) for row in places.read(chosen))
        examples = (each if isinstance(each, Conversation) else None for each in made)
        rows = _rows("dataset", chosen, examples)
        source = DataSource(dataset=dataset.id, display_name=dataset.display_name, row_count=len(places))
        return HeldOutData(source=source, rows=rows)

    def of_model(self, principal: Principal, model_id: TunedModelId, most: int) -> HeldOutData:
        """The examples that a tuned model's job kept back as its validation set: all, or so many from all of them.

        They are training data, which a reader of a model does not get to see: the caller must be a writer.

        Raises:
            NotFound: there is no such model.
            PermissionDenied: the caller may not change it.
            InvalidArgument: its job kept nothing back, or no example is one with an answer.
            FailedPrecondition: its files are not on this server.

        """
        with self._shelf.database.read() as connection:
            tuned = load(connection, principal, model_id, Action.UPDATE)
        count = tuned.job.validation_count
        if not count:
            described = "the model was tuned without a validation set, so no examples were kept back; give a dataset"
            raise _refused("kept_back_by", described, Reason.NOT_ALLOWED)
        ref = self._artifacts.validation(tuned.job.id)
        if not self._artifacts.store.has(ref):
            raise FailedPrecondition(
                f"The examples that the model {model_id} kept back are not on this server. Upload them as a dataset; "
                "if several servers share one database, call the server that trained the model."
            )
        chosen = spread(count, most)
        rows = _rows("kept_back_by", chosen, _chosen_lines(self._artifacts.store.path(ref), chosen))
        name = tuned.model.display_name or model_id
        return HeldOutData(source=DataSource(kept_back_by=model_id, display_name=name, row_count=count), rows=rows)


def spread(count: int, most: int) -> Sequence[int]:
    """At most `most` indexes below `count`, in order and equally far apart."""
    return range(count) if count <= most else [index * count // most for index in range(most)]


def _chosen_lines(path: Path, chosen: Iterable[int]) -> Iterator[Example]:
    """The examples at these places of a dataset file, of which one line at a time is in memory."""
    wanted = iter(chosen)
    next_wanted = next(wanted, None)
    with path.open("rb") as lines:
        for index, line in enumerate(lines):
            if index == next_wanted:
                yield example_in(line)
                next_wanted = next(wanted, None)


def _rows(field: str, chosen: Sequence[int], examples: Iterable[Example | None]) -> tuple[EvaluationRow, ...]:
    """Those of these examples that have a question and an answer, with the numbers of their rows."""
    rows, characters = [], 0
    for index, example in zip(chosen, examples, strict=False):
        asked = None if example is None else _asked(example)
        if asked is None:
            continue
        prompt, expected = asked
        characters += len(expected) + sum(len(turn.text) for turn in prompt.turns)
        if characters > MAX_CHARACTERS:
            described = (
                f"the examples have more than {MAX_CHARACTERS:,} characters together; take fewer with max_examples"
            )
            raise _refused(field, described, Reason.TOO_LONG)
        rows.append(EvaluationRow(number=index + 1, prompt=prompt, expected=expected))
    if not rows:
        described = "there is no row with a question of the user and an answer of the model"
        raise _refused(field, described, Reason.MISSING)
    return tuple(rows)


def _asked(example: Example) -> tuple[Conversation, str] | None:
    if isinstance(example, Preference):
        return example.prompt, "".join(example.chosen)
    return held_out(example)


def _refused(field: str, described: str, reason: Reason) -> InvalidArgument:
    return InvalidArgument(violations=(FieldViolation(field=field, description=described, reason=reason),))
